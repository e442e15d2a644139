/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernels that morsel.ko supports, and what it
 * cannot work with at all. Nothing outside this file asks for a version.
 *
 * Tested: 6.1 (Debian 12) and 6.12 (Debian 13). The conditions for kernels
 * in between and after come from reading them.
 */
#ifndef MORSEL_COMPAT_H
#define MORSEL_COMPAT_H

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/version.h>

#define MORSEL_KERNEL(major, minor) \
	(LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

#if !MORSEL_KERNEL(6, 1)
#error "morsel.ko needs Linux 6.1 or later"
#endif
#ifndef CONFIG_X86_64
#error "morsel.ko knows only the page tables of x86-64"
#endif
#ifndef CONFIG_MMU_NOTIFIER
#error "morsel.ko needs CONFIG_MMU_NOTIFIER (KVM and others select it)"
#endif
#if ALLOC_SPLIT_PTLOCKS && defined(MODULE)
#error "page-table locks are allocated in this kernel (lockdep or PREEMPT_RT) and ptlock_alloc() is not exported: build morsel into the kernel instead"
#endif

/*
 * Before 6.5 core code that holds the mmap lock for reading, or a file's
 * i_mmap lock, checks a PMD entry and reads it again to find the table. An
 * entry that pointed to a table must not become empty in between. So it is
 * pointed at an empty table instead (frozen), and emptied only by who holds
 * both locks for writing. Since 6.5 pte_offset_map() may fail, and tables are
 * freed after an RCU grace period.
 */
#define MORSEL_FREEZE		(!MORSEL_KERNEL(6, 5))

static inline void morsel_rmap_lock(struct address_space *mapping)
{
	/*
	 * Nested: this is taken inside notifiers of unmapping, which lockdep
	 * knows to be called with other files' i_mmap locks held. They never
	 * are for those events: these come from system calls and exit only.
	 */
	if (MORSEL_FREEZE)
		down_write_nested(&mapping->i_mmap_rwsem, SINGLE_DEPTH_NESTING);
}

static inline void morsel_rmap_unlock(struct address_space *mapping)
{
	if (MORSEL_FREEZE)
		up_write(&mapping->i_mmap_rwsem);
}

/* Page tables have a constructor of their own since 6.6. */
static inline bool morsel_table_ctor(struct page *page)
{
#if MORSEL_KERNEL(6, 6)
	return pagetable_pte_ctor(page_ptdesc(page));
#else
	return pgtable_pte_page_ctor(page);
#endif
}

static inline void morsel_table_dtor(struct page *page)
{
#if MORSEL_KERNEL(6, 6)
	pagetable_pte_dtor(page_ptdesc(page));
#else
	pgtable_pte_page_dtor(page);
#endif
}

/* Flags of a mapping are changed through accessors since 6.3. */
static inline void morsel_vm_flags(struct vm_area_struct *vma,
				   unsigned long set, unsigned long clear)
{
#if MORSEL_KERNEL(6, 3)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/*
 * Since 6.4 faults may hold only the mapping's own lock, since 6.6 for files
 * too: whoever changes what they look at takes it besides the mmap lock.
 */
static inline void morsel_vma_start_write(struct vm_area_struct *vma)
{
#if MORSEL_KERNEL(6, 4)
	vma_start_write(vma);
#endif
}

static inline void morsel_release_fault_lock(struct vm_fault *vmf)
{
#if MORSEL_KERNEL(6, 6)
	release_fault_lock(vmf);
#else
	mmap_read_unlock(vmf->vma->vm_mm);
#endif
}

/* A reference unless the last one is gone; the struct itself must be valid. */
static inline bool morsel_tryget_file(struct file *file)
{
#if MORSEL_KERNEL(6, 13)
	return file_ref_get(&file->f_ref);
#else
	return atomic_long_inc_not_zero(&file->f_count);
#endif
}

/* One page of another process, to be written. mmap lock held for reading. */
static inline long morsel_gup_write(struct mm_struct *mm, unsigned long addr,
				    struct page **page)
{
	unsigned int flags = FOLL_FORCE | FOLL_WRITE;

#if MORSEL_KERNEL(6, 5)
	return get_user_pages_remote(mm, addr, 1, flags, page, NULL);
#else
	return get_user_pages_remote(mm, addr, 1, flags, page, NULL, NULL);
#endif
}

/* AMD's broadcast flush (6.15) keeps no record of which CPUs run an mm. */
static inline const struct cpumask *morsel_cpus(struct mm_struct *mm)
{
	return MORSEL_KERNEL(6, 15) ? cpu_online_mask : mm_cpumask(mm);
}

/* Shrinkers are allocated since 6.7. */
struct morsel_shrinker_ops {
	const char *name;
	unsigned long (*count)(struct shrinker *s, struct shrink_control *sc);
	unsigned long (*scan)(struct shrinker *s, struct shrink_control *sc);
	long batch;
};

static inline struct shrinker *
morsel_shrinker_add(const struct morsel_shrinker_ops *ops)
{
	struct shrinker *s;

#if MORSEL_KERNEL(6, 7)
	s = shrinker_alloc(0, "%s", ops->name);
#else
	s = kzalloc(sizeof(*s), GFP_KERNEL);
#endif
	if (!s)
		return NULL;
	s->count_objects = ops->count;
	s->scan_objects = ops->scan;
	s->batch = ops->batch;
	s->seeks = DEFAULT_SEEKS;
#if MORSEL_KERNEL(6, 7)
	shrinker_register(s);
#else
	if (register_shrinker(s, "%s", ops->name)) {
		kfree(s);
		return NULL;
	}
#endif
	return s;
}

static inline void morsel_shrinker_remove(struct shrinker *s)
{
#if MORSEL_KERNEL(6, 7)
	shrinker_free(s);
#else
	unregister_shrinker(s);
	kfree(s);
#endif
}

#endif /* MORSEL_COMPAT_H */
