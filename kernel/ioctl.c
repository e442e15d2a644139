// SPDX-License-Identifier: GPL-2.0
/*
 * The calls from user space: what goes in and out. See uapi/morsel.h.
 */
#include <linux/file.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "morsel.h"

static long morsel_ioctl_version(void __user *arg)
{
	struct morsel_version version = {
		.abi = MORSEL_ABI_VERSION,
		.flags = MORSEL_FLAGS,
		.align = PMD_SIZE,
	};

	return copy_to_user(arg, &version, sizeof(version)) ? -EFAULT : 0;
}

static long morsel_ioctl_attach(void __user *arg)
{
	struct morsel_region region;

	if (copy_from_user(&region, arg, sizeof(region)))
		return -EFAULT;
	morsel_attach(&region);
	if (copy_to_user(arg, &region, sizeof(region)))
		return -EFAULT;
	return region.error;
}

static long morsel_ioctl_attach_many(void __user *arg)
{
	struct morsel_region __user *array;
	struct morsel_regions regions;
	struct morsel_region region;
	u32 i;

	if (copy_from_user(&regions, arg, sizeof(regions)))
		return -EFAULT;
	if (regions.reserved)
		return -EINVAL;
	if (regions.count > MORSEL_MAX_REGIONS)
		return -E2BIG;
	array = u64_to_user_ptr(regions.regions);
	regions.shared = 0;
	regions.failed = 0;
	for (i = 0; i < regions.count; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (copy_from_user(&region, &array[i], sizeof(region)))
			return -EFAULT;
		morsel_attach(&region);
		regions.shared += region.state == MORSEL_SHARED;
		regions.failed += region.state == MORSEL_FAILED;
		if (copy_to_user(&array[i], &region, sizeof(region)))
			return -EFAULT;
	}
	return copy_to_user(arg, &regions, sizeof(regions)) ? -EFAULT : 0;
}

/* A filled morsel with a reference, or NULL: then region->reason says why. */
static struct morsel *morsel_hold_file(struct morsel_region *region,
				       struct file *file)
{
	struct morsel *m;
	int error;

	region->reason = morsel_allowed(file);
	if (!region->reason)
		region->reason = morsel_suitable(file);
	if (region->reason)
		return NULL;
	m = morsel_find(file, region);
	if (IS_ERR(m)) {
		region->reason = MORSEL_WHY_MEMORY;
		return NULL;
	}
	error = morsel_use(m, NULL, true);
	if (error) {
		fput(m->file);
		region->reason = morsel_why(error);
		return NULL;
	}
	/* The reference stays, the use is over. */
	get_file(m->file);
	morsel_unuse(m);
	return m;
}

static long morsel_hold(struct morsel_region *region)
{
	struct file *file;
	struct morsel *m;
	int fd;

	region->reason = MORSEL_WHY_NONE;
	if (region->addr || morsel_check_region(region, MORSEL_HUGE))
		return -EINVAL;
	region->length = ALIGN(region->length, PMD_SIZE);
	file = fget(region->fd);
	if (!file)
		return -EBADF;
	m = NULL;
	fd = -EACCES;
	if (file->f_mode & FMODE_READ)
		fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd >= 0) {
		m = morsel_hold_file(region, file);
		if (m) {
			fd_install(fd, m->file);
		} else {
			put_unused_fd(fd);
			fd = -EBUSY;
		}
	}
	fput(file);
	return fd;
}

static long morsel_ioctl_hold(void __user *arg)
{
	struct morsel_region region;
	long fd;

	if (copy_from_user(&region, arg, sizeof(region)))
		return -EFAULT;
	/* First, so that no descriptor is lost if it cannot be written. */
	if (copy_to_user(arg, &region, sizeof(region)))
		return -EFAULT;
	fd = morsel_hold(&region);
	if (copy_to_user(arg, &region, sizeof(region)) && fd < 0)
		return -EFAULT;
	return fd;
}

static long morsel_ioctl_stat_next(void __user *arg)
{
	struct morsel_stat stat;
	struct morsel *m;
	int error;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&stat, arg, sizeof(stat)))
		return -EFAULT;
	m = morsel_next(stat.id, false);
	if (!m)
		return -ENOENT;
	error = morsel_describe(m, &stat);
	fput(m->file);
	if (error)
		return error;
	return copy_to_user(arg, &stat, sizeof(stat)) ? -EFAULT : 0;
}

static long morsel_ioctl_totals(void __user *arg)
{
	struct morsel_counters *c = &morsel_count;
	struct morsel_totals totals = {
		.morsels = atomic64_read(&c->morsels),
		.processes = atomic64_read(&c->processes),
		.mappings = atomic64_read(&c->mappings),
		.pinned = atomic64_read(&c->pinned) << PAGE_SHIFT,
		.tables = atomic64_read(&c->tables),
		.huge = atomic64_read(&c->huge),
		.built = atomic64_read(&c->built),
		.shared = atomic64_read(&c->shared),
		.failed = atomic64_read(&c->failed),
		.installed = atomic64_read(&c->installed),
		.removed = atomic64_read(&c->removed),
		.frozen = atomic64_read(&c->frozen),
		.detached = atomic64_read(&c->detached),
		.dropped = atomic64_read(&c->dropped),
		.damaged = atomic64_read(&c->damaged),
	};
	int i;

	for (i = 0; i < MORSEL_WHY_COUNT; i++)
		totals.plain[i] = atomic64_read(&c->plain[i]);
	return copy_to_user(arg, &totals, sizeof(totals)) ? -EFAULT : 0;
}

static long morsel_device_ioctl(struct file *file, unsigned int cmd,
				unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case MORSEL_VERSION:
		return morsel_ioctl_version(user);
	case MORSEL_ATTACH:
		return morsel_ioctl_attach(user);
	case MORSEL_ATTACH_MANY:
		return morsel_ioctl_attach_many(user);
	case MORSEL_HOLD:
		return morsel_ioctl_hold(user);
	case MORSEL_STAT_NEXT:
		return morsel_ioctl_stat_next(user);
	case MORSEL_TOTALS:
		return morsel_ioctl_totals(user);
	default:
		return -ENOTTY;
	}
}

/* On a descriptor from MORSEL_HOLD. */
static long morsel_hold_ioctl(struct file *file, unsigned int cmd,
			      unsigned long arg)
{
	struct morsel_stat stat;
	int error;

	if (cmd != MORSEL_STAT)
		return -ENOTTY;
	error = morsel_describe(file->private_data, &stat);
	if (error)
		return error;
	return copy_to_user((void __user *)arg, &stat, sizeof(stat)) ?
		-EFAULT : 0;
}

/* No compat_ioctl: the layouts are the same, but the loader is 64-bit only. */
const struct file_operations morsel_device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = morsel_device_ioctl,
	.llseek = noop_llseek,
};

const struct file_operations morsel_fops = {
	.owner = THIS_MODULE,
	.release = morsel_release,
	.unlocked_ioctl = morsel_hold_ioctl,
	.llseek = noop_llseek,
};
