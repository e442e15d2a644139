// SPDX-License-Identifier: GPL-2.0
/*
 * Lets all processes map in ways that no loader asks for, to be measured: it changes the arguments of the kernel's own
 * functions by probes, which cost some hundred instructions for each mapping. Loaded only meanwhile.
 *
 *   insmod measure.ko populate=1   MAP_POPULATE for files that are mapped unwritably
 *   insmod measure.ko huge=1       MORSEL_HUGE for all that is attached
 */
#include <linux/kprobes.h>
#include <linux/mman.h>
#include <linux/module.h>

#include "morsel.h"

static bool populate, huge;
module_param(populate, bool, 0);
module_param(huge, bool, 0);

/* vm_mmap_pgoff(file, address, length, protection, flags, offset) */
static int on_mmap(struct kprobe *probe, struct pt_regs *regs)
{
	if (regs->di && !(regs->cx & PROT_WRITE))
		regs->r8 |= MAP_POPULATE;
	return 0;
}

/* morsel_attach(region) */
static int on_attach(struct kprobe *probe, struct pt_regs *regs)
{
	((struct morsel_region *)regs->di)->flags |= MORSEL_HUGE;
	return 0;
}

static struct kprobe mmap_probe = { .symbol_name = "vm_mmap_pgoff", .pre_handler = on_mmap };
static struct kprobe attach_probe = { .symbol_name = "morsel_attach", .pre_handler = on_attach };

static int __init measure_init(void)
{
	if (populate == huge)
		return -EINVAL;
	return register_kprobe(populate ? &mmap_probe : &attach_probe);
}

static void __exit measure_exit(void)
{
	unregister_kprobe(populate ? &mmap_probe : &attach_probe);
}

module_init(measure_init);
module_exit(measure_exit);
MODULE_DESCRIPTION("ways of mapping that no loader asks for");
MODULE_LICENSE("GPL");
