// SPDX-License-Identifier: GPL-2.0
/*
 * morsel: page tables of file regions that processes share, on stock kernels.
 * Module, parameters and device. docs/morsel-module.md says what it is for.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <asm/cpufeature.h>

#include "morsel.h"

struct morsel_counters morsel_count;
struct workqueue_struct *morsel_wq;

bool morsel_enabled = true;
bool morsel_secure_exec;
bool morsel_require_exec = true;
unsigned long morsel_limit_mib;

static bool morsel_limit_given;
static DEFINE_MUTEX(morsel_enabled_lock);

/* Off means: nothing is shared any more when the write returns. */
static int morsel_set_enabled(const char *value, const struct kernel_param *kp)
{
	int error;

	mutex_lock(&morsel_enabled_lock);
	error = param_set_bool(value, kp);
	if (!error && !morsel_enabled) {
		morsel_forget_all();
		morsel_detach_all(true);
	}
	mutex_unlock(&morsel_enabled_lock);
	return error;
}

static int morsel_set_limit(const char *value, const struct kernel_param *kp)
{
	morsel_limit_given = true;
	return param_set_ulong(value, kp);
}

static const struct kernel_param_ops morsel_enabled_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = morsel_set_enabled,
	.get = param_get_bool,
};

static const struct kernel_param_ops morsel_limit_ops = {
	.set = morsel_set_limit,
	.get = param_get_ulong,
};

module_param_cb(enabled, &morsel_enabled_ops, &morsel_enabled, 0644);
MODULE_PARM_DESC(enabled, "share page tables; N also ends all sharing that is (default Y)");
module_param_named(secure_exec, morsel_secure_exec, bool, 0644);
MODULE_PARM_DESC(secure_exec, "also for set-user-id and similar processes (default N)");
module_param_named(require_exec, morsel_require_exec, bool, 0644);
MODULE_PARM_DESC(require_exec, "only who may execute a file may share it, and so prevent writing to it (default Y)");
module_param_cb(limit_mib, &morsel_limit_ops, &morsel_limit_mib, 0644);
MODULE_PARM_DESC(limit_mib, "MiB of files to hold in memory, 0: no limit (default: a quarter of memory)");

static unsigned int morsel_fail_after;
module_param_named(fail_after, morsel_fail_after, uint, 0600);
MODULE_PARM_DESC(fail_after, "for tests: let the n-th allocation or read from now fail, 0: none (default 0)");

/**
 * morsel_fault_injected - shall this allocation fail, for a test?
 *
 * Return: true once, when the parameter has counted down.
 */
bool morsel_fault_injected(void)
{
	unsigned int left = READ_ONCE(morsel_fail_after);

	if (likely(!left))
		return false;
	WRITE_ONCE(morsel_fail_after, left - 1);
	return left == 1;
}

static struct miscdevice morsel_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "morsel",
	.fops = &morsel_device_fops,
	.mode = 0666,
};

static int __init morsel_init(void)
{
	int error;

	if (cpu_feature_enabled(X86_FEATURE_XENPV)) {
		pr_err("a Xen PV guest cannot share page tables: the hypervisor checks each one\n");
		return -ENODEV;
	}
	if (!morsel_limit_given)
		morsel_limit_mib = totalram_pages() >> (20 - PAGE_SHIFT + 2);

	morsel_wq = alloc_workqueue("morsel", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!morsel_wq)
		return -ENOMEM;
	error = morsel_tables_init();
	if (error)
		goto workqueue;
	error = morsel_shrinker_init();
	if (error)
		goto tables;
	error = misc_register(&morsel_device);
	if (!error)
		return 0;

	morsel_shrinker_exit();
tables:
	morsel_tables_exit();
workqueue:
	destroy_workqueue(morsel_wq);
	return error;
}

/* No morsel is left: each has a file, and that the module. */
static void __exit morsel_exit(void)
{
	misc_deregister(&morsel_device);
	morsel_shrinker_exit();
	/* Tables of the last ones may still wait for a grace period. */
	rcu_barrier();
	destroy_workqueue(morsel_wq);
	morsel_tables_exit();
}

module_init(morsel_init);
module_exit(morsel_exit);

MODULE_DESCRIPTION("Shared page tables for file regions");
MODULE_AUTHOR("The ld-morsel developers");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
