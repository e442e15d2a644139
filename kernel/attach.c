// SPDX-License-Identifier: GPL-2.0
/*
 * Attaching: map the region as any program could, so that the kernel makes all
 * its own checks, and then turn this mapping into one that shares a morsel, or
 * else into a private one.
 */
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "morsel.h"

/* Of all threads: a debugger may have attached to any of them. */
static bool morsel_traced(void)
{
	struct task_struct *thread;
	bool traced = false;

	rcu_read_lock();
	for_each_thread(current, thread)
		traced |= !!READ_ONCE(thread->ptrace);
	rcu_read_unlock();
	return traced;
}

/* As the process was told itself: set-user-id, capabilities and the like. */
static bool morsel_secure_process(void)
{
	unsigned long *auxv = current->mm->saved_auxv;
	const struct cred *cred = current_cred();
	int i;

	if (!uid_eq(cred->uid, cred->euid) || !gid_eq(cred->gid, cred->egid))
		return true;
	for (i = 0; i < AT_VECTOR_SIZE && auxv[i] != AT_NULL; i += 2)
		if (auxv[i] == AT_SECURE)
			return auxv[i + 1];
	return true;
}

/**
 * morsel_allowed - may the caller share regions of a file?
 * @file: as the caller opened it
 *
 * While a region is shared nobody can write to the file. Who may execute a
 * file can do that to its owner anyway.
 *
 * Return: MORSEL_WHY_NONE, or the reason why not.
 */
u32 morsel_allowed(struct file *file)
{
	if (!READ_ONCE(morsel_enabled))
		return MORSEL_WHY_DISABLED;
	if (morsel_traced())
		return MORSEL_WHY_TRACED;
	if (!READ_ONCE(morsel_secure_exec) && morsel_secure_process())
		return MORSEL_WHY_SECURE;
	if (READ_ONCE(morsel_require_exec) && file_permission(file, MAY_EXEC) &&
	    !capable(CAP_SYS_ADMIN))
		return MORSEL_WHY_PERMISSION;
	return MORSEL_WHY_NONE;
}

/**
 * morsel_why - what an error of morsel_use() means for user space
 * @error: a negative errno
 *
 * Return: the reason.
 */
u32 morsel_why(int error)
{
	switch (error) {
	case -ETXTBSY:
		return MORSEL_WHY_WRITERS;
	case -EDQUOT:
		return MORSEL_WHY_LIMIT;
	case -ENOMEM:
		return MORSEL_WHY_MEMORY;
	case -EINTR:
		return MORSEL_WHY_INTERRUPTED;
	case -ENODATA:
		return MORSEL_WHY_NOT_READY;
	case -EINVAL:
	case -EXDEV:
		return MORSEL_WHY_MAPPING;
	default:
		return MORSEL_WHY_IO;
	}
}

/**
 * morsel_check_region - are the values of a region possible?
 * @region: as it came from user space
 * @flags: flags that are known
 *
 * Return: 0 or -EINVAL.
 */
int morsel_check_region(const struct morsel_region *region, u32 flags)
{
	u64 length = ALIGN(region->length, PMD_SIZE);

	if ((region->prot != PROT_READ &&
	     region->prot != (PROT_READ | PROT_EXEC)) ||
	    region->flags & ~flags ||
	    (region->flags & MORSEL_REPLACE && region->flags & MORSEL_ADOPT) ||
	    !PAGE_ALIGNED(region->offset) ||
	    !IS_ALIGNED(region->addr, PMD_SIZE) ||
	    !region->length || length < region->length ||
	    region->offset > MAX_LFS_FILESIZE ||
	    length > MAX_LFS_FILESIZE - region->offset ||
	    region->addr > TASK_SIZE || length > TASK_SIZE - region->addr)
		return -EINVAL;
	return 0;
}

/* Is there nothing in the range that would be lost: private mappings, which nobody wrote to? */
static int morsel_check_reservation(const struct morsel_region *region)
{
	u64 end = region->addr + region->length, addr = region->addr;
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int error = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	while (addr < end && (vma = find_vma(mm, addr)) &&
	       vma->vm_start < end) {
		if (vma->anon_vma ||
		    vma->vm_flags & (VM_MAYSHARE | VM_GROWSDOWN | VM_SPECIAL)) {
			error = -EEXIST;
			break;
		}
		addr = vma->vm_end;
	}
	mmap_read_unlock(mm);
	return error;
}

static int morsel_map(struct file *file, const struct morsel_region *region,
		      unsigned long flags)
{
	bool replace = region->flags & MORSEL_REPLACE;
	unsigned long addr;
	int error;

	if (replace) {
		error = morsel_check_reservation(region);
		if (error)
			return error;
	}
	addr = vm_mmap(file, region->addr, region->length, region->prot,
		       flags | MAP_NORESERVE |
		       (replace ? MAP_FIXED : MAP_FIXED_NOREPLACE),
		       region->offset);
	if (!IS_ERR_VALUE(addr))
		return 0;
	error = addr;
	/*
	 * mmap may have removed the reservation before it failed. If it has
	 * not, or if there is no memory for this either, nothing can be done.
	 */
	if (replace)
		addr = vm_mmap(NULL, region->addr, region->length, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			       MAP_FIXED_NOREPLACE, 0);
	return error;
}

/* Is it just the region, or, if the caller made it, does it contain the region? */
static bool morsel_is_mapping_of(const struct vm_area_struct *vma,
				 const struct morsel_region *region)
{
	u64 before = region->addr - vma->vm_start;
	u64 behind = vma->vm_end - region->addr;

	if (vma->vm_pgoff + (before >> PAGE_SHIFT) !=
	    region->offset >> PAGE_SHIFT)
		return false;
	if (region->flags & MORSEL_ADOPT)
		return behind >= region->length;
	return !before && behind == region->length;
}

/*
 * The mapping that morsel_map() or the caller made, if it is still as it was,
 * whatever it has of the flags in @ignore.
 */
static struct vm_area_struct *
morsel_find_mapping(const struct morsel_region *region, unsigned long ignore)
{
	struct vm_area_struct *vma = vma_lookup(current->mm, region->addr);
	unsigned long flags = VM_READ | VM_MAYSHARE;

	if (region->prot & PROT_EXEC)
		flags |= VM_EXEC;
	if (!vma || !morsel_is_mapping_of(vma, region) || !vma->vm_file ||
	    !vma->vm_ops || !vma->vm_ops->fault || !vma->vm_ops->map_pages ||
	    vma->vm_ops->close || vma->vm_private_data || vma->anon_vma ||
	    (vma->vm_flags & ~ignore &
	     (VM_ACCESS_FLAGS | VM_SHARED | VM_MAYSHARE | VM_MAYWRITE |
	      VM_SPECIAL | VM_LOCKED | VM_HUGETLB)) != flags)
		return NULL;
	return vma;
}

/*
 * The file that the mapping refers to, if it is that of @opened, for which the
 * caller's rights were checked: overlayfs puts another one there.
 */
static struct file *morsel_mapped_file(const struct morsel_region *region,
				       struct file *opened,
				       const struct vm_operations_struct **ops)
{
	struct vm_area_struct *vma;
	struct file *file = NULL;

	if (mmap_read_lock_killable(current->mm))
		return NULL;
	vma = morsel_find_mapping(region, 0);
	if (vma && vma->vm_file->f_mapping == morsel_mapping_of(opened)) {
		file = get_file(vma->vm_file);
		*ops = vma->vm_ops;
	}
	mmap_read_unlock(current->mm);
	return file;
}

/* Let the mapping share @m, and consume the use of it. */
static u32 morsel_share(struct morsel *m, const struct morsel_region *region)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct morsel_mm *mmm;
	u32 why = MORSEL_WHY_MAPPING;

	if (mmap_write_lock_killable(mm)) {
		morsel_unuse(m);
		return MORSEL_WHY_INTERRUPTED;
	}
	vma = morsel_find_mapping(region, 0);
	if (!vma || vma->vm_file->f_mapping != m->mapping ||
	    vma->vm_ops != m->fs_ops ||
	    pgprot_val(vma->vm_page_prot) != pgprot_val(m->page_prot))
		goto unlock;
	mmm = morsel_mm_get(mm);
	if (!mmm) {
		why = MORSEL_WHY_MEMORY;
		goto unlock;
	}
	if (!(region->flags & MORSEL_LAZY))
		atomic_set(&mmm->patience, 0);
	else if (atomic_read(&mmm->vmas) == 1)
		atomic_set(&mmm->patience, MORSEL_LAZY_FAULTS);
	/*
	 * Either this sees the switch off, or who turned it off sees the
	 * address space and waits for its mmap lock.
	 */
	smp_mb();
	if (!READ_ONCE(morsel_enabled)) {
		why = MORSEL_WHY_DISABLED;
		morsel_mm_put(mmm);
		goto unlock;
	}

	morsel_vma_start_write(vma);
	/* DONTEXPAND also keeps it from being merged, locked or collapsed. */
	morsel_vm_flags(vma, VM_DONTEXPAND, 0);
	vma->vm_private_data = m;
	vma->vm_ops = &morsel_vm_ops;
	atomic64_inc(&morsel_count.mappings);
	mmap_write_unlock(mm);
	return MORSEL_WHY_NONE;

unlock:
	mmap_write_unlock(mm);
	morsel_unuse(m);
	return why;
}

/* A region is mapped shared and stays so, or the reason why not. */
static u32 morsel_try_share(const struct morsel_region *region,
			    struct file *file)
{
	const struct vm_operations_struct *ops;
	struct file *backing;
	struct morsel *m;
	u32 why;
	int error;

	backing = morsel_mapped_file(region, file, &ops);
	if (!backing)
		return MORSEL_WHY_MAPPING;
	why = morsel_suitable(backing);
	m = why ? NULL : morsel_find(backing, region);
	fput(backing);
	if (why)
		return why;
	if (IS_ERR(m))
		return MORSEL_WHY_MEMORY;
	error = morsel_use(m, ops, !(region->flags & MORSEL_READY));
	if (error) {
		fput(m->file);
		return morsel_why(error);
	}
	return morsel_share(m, region);
}

/* The plain mapping that is left when sharing failed; false if there is none. */
static bool morsel_make_plain(const struct morsel_region *region)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;

	/* Not killable, so that what was promised is there. */
	mmap_write_lock(mm);
	vma = morsel_find_mapping(region, VM_LOCKED);
	if (vma) {
		morsel_vma_start_write(vma);
		morsel_make_private(vma, vma->vm_ops);
	}
	mmap_write_unlock(mm);
	return vma;
}

/* Touch each GiB: one fault installs all that is in it. */
static void morsel_populate(const struct morsel_region *region)
{
	u64 addr = region->addr, end = region->addr + region->length;
	char byte;

	while (addr < end) {
		if (get_user(byte, (char __user *)addr))
			return;
		addr = ALIGN(addr + 1, PUD_SIZE);
	}
}

static bool morsel_only_asks(const struct morsel_region *region)
{
	return (region->flags & (MORSEL_READY | MORSEL_REPLACE |
				 MORSEL_ADOPT)) == MORSEL_READY;
}

static int morsel_attach_file(struct morsel_region *region, struct file *file)
{
	struct address_space *mapping = morsel_mapping_of(file);
	int error;

	if (!S_ISREG(file_inode(file)->i_mode))
		return -ENODEV;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (region->offset >= i_size_read(file_inode(file)))
		return -EINVAL;

	region->reason = morsel_allowed(file);
	/* With a writable descriptor the mapping could become writable. */
	if (!region->reason && file->f_mode & FMODE_WRITE)
		region->reason = MORSEL_WHY_WRITERS;
	/* Now: what FUSE has mapped shared cannot be made private later. */
	if (!region->reason && mapping)
		region->reason = morsel_suitable_inode(mapping->host);
	if (region->flags & MORSEL_READY && !region->reason &&
	    !morsel_is_ready(file, region))
		region->reason = MORSEL_WHY_NOT_READY;
	if (morsel_only_asks(region))
		return 0;
	if (region->flags & MORSEL_ADOPT) {
		if (!region->reason)
			region->reason = morsel_try_share(region, file);
		return region->reason && !morsel_make_plain(region) ? -EEXIST :
								      0;
	}
	/* What the caller has mapped will do. */
	if (region->flags & MORSEL_READY && region->reason)
		return 0;
	error = morsel_map(file, region,
			   region->reason ? MAP_PRIVATE : MAP_SHARED);
	if (error)
		return error;
	if (region->reason)
		return 0;
	region->reason = morsel_try_share(region, file);
	if (region->reason)
		morsel_make_plain(region);
	return 0;
}

/**
 * morsel_attach - map one region
 * @region: what user space asked for; the answer is put there
 */
void morsel_attach(struct morsel_region *region)
{
	struct file *file;

	region->state = MORSEL_FAILED;
	region->reason = MORSEL_WHY_NONE;
	region->error = morsel_check_region(region, MORSEL_FLAGS);
	if (!region->error) {
		region->length = ALIGN(region->length, PMD_SIZE);
		file = fget(region->fd);
		region->error = file ? morsel_attach_file(region, file) :
				       -EBADF;
		if (file)
			fput(file);
	}
	if (region->error) {
		region->reason = MORSEL_WHY_NONE;
		atomic64_inc(&morsel_count.failed);
		return;
	}
	if (region->reason) {
		region->state = MORSEL_PLAIN;
		atomic64_inc(&morsel_count.plain[region->reason]);
		return;
	}
	region->state = MORSEL_SHARED;
	if (morsel_only_asks(region))
		return;
	atomic64_inc(&morsel_count.shared);
	if (region->flags & MORSEL_POPULATE)
		morsel_populate(region);
}
