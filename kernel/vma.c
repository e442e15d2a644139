// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel asks of a mapping that shares a morsel.
 *
 * A 2 MiB range that the mapping covers wholly, with the morsel's protection,
 * only ever gets the morsel's table; any other range only ever gets private
 * tables, from the file system's own operations. Which of the two it is
 * changes only with the mmap lock held for writing.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "morsel.h"

/* How often a fault starts again because of invalidations before it returns. */
#define MORSEL_FAULT_TRIES 8

/**
 * morsel_chunk_at - what belongs at an address of a mapping
 * @vma: one of ours
 * @addr: the address
 *
 * Return: the chunk, or NULL where private tables belong.
 */
struct morsel_chunk *morsel_chunk_at(struct vm_area_struct *vma,
				     unsigned long addr)
{
	struct morsel *m = vma->vm_private_data;
	pgoff_t pgoff;

	addr &= PMD_MASK;
	if (addr < vma->vm_start || vma->vm_end - addr < PMD_SIZE ||
	    pgprot_val(vma->vm_page_prot) != pgprot_val(m->page_prot))
		return NULL;
	pgoff = vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
	if (pgoff < m->pgoff || (pgoff - m->pgoff) % PTRS_PER_PTE)
		return NULL;
	pgoff = (pgoff - m->pgoff) / PTRS_PER_PTE;
	return pgoff < m->tables->nr ? &m->tables->chunk[pgoff] : NULL;
}

/**
 * morsel_make_private - make of a mapping what MAP_PRIVATE would have made
 * @vma: a shared mapping of a file that is open read-only, with no entries of
 *	ours, mmap lock held for writing (or not visible yet)
 * @ops: its file system's operations
 *
 * The kernel itself tells the two only by these flags.
 */
void morsel_make_private(struct vm_area_struct *vma,
			 const struct vm_operations_struct *ops)
{
	vma->vm_ops = ops;
	vma->vm_private_data = NULL;
	morsel_vm_flags(vma, VM_MAYWRITE, VM_MAYSHARE | VM_DONTEXPAND);
}

/**
 * morsel_detach_vma - end the sharing and make the mapping a private one
 * @vma: one of ours, mmap lock held for writing
 *
 * The process notices nothing, except that it may now do what can be done
 * with private mappings.
 */
void morsel_detach_vma(struct vm_area_struct *vma)
{
	struct morsel_mm *mmm = morsel_mm_of(vma->vm_mm);
	struct morsel *m = vma->vm_private_data;

	morsel_vma_start_write(vma);
	morsel_clear(mmm, vma->vm_start, vma->vm_end);
	morsel_make_private(vma, m->fs_ops);
	atomic64_dec(&morsel_count.mappings);
	atomic64_inc(&morsel_count.detached);
	morsel_mm_put(mmm);
	morsel_unuse(m);
}

/* A copy of a mapping of ours: by a fork, a split or a move. */
static void morsel_vma_open(struct vm_area_struct *vma)
{
	struct morsel *m = vma->vm_private_data;

	if (!morsel_mm_get(vma->vm_mm)) {
		/* Only for the child of a fork; it has no entries yet. */
		morsel_make_private(vma, m->fs_ops);
		return;
	}
	get_file(m->file);
	atomic_inc(&m->users);
	atomic64_inc(&morsel_count.mappings);
}

static void morsel_vma_close(struct vm_area_struct *vma)
{
	struct morsel *m = vma->vm_private_data;

	atomic64_dec(&morsel_count.mappings);
	morsel_mm_put(morsel_mm_of(vma->vm_mm));
	morsel_unuse(m);
}

/* The range at a cut belongs to nobody afterwards. */
static int morsel_vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	if (IS_ALIGNED(addr, PMD_SIZE))
		return 0;
	morsel_vma_start_write(vma);
	morsel_clear(morsel_mm_of(vma->vm_mm), addr & PMD_MASK,
		     ALIGN(addr, PMD_SIZE));
	return 0;
}

/*
 * The first fault that shares. Registering takes the mmap lock for writing,
 * so the fault has to start again.
 */
static vm_fault_t morsel_register_and_retry(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	struct morsel_mm *mmm;

	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	morsel_release_fault_lock(vmf);
	if (mmap_write_lock_killable(mm))
		return VM_FAULT_RETRY;
	mmm = morsel_mm_of(mm);
	if (mmm && (morsel_fault_injected() || morsel_mm_register(mmm)))
		/* No memory for it: this process shares nothing. */
		morsel_detach_mm(mm);
	mmap_write_unlock(mm);
	return VM_FAULT_RETRY;
}

/*
 * MORSEL_LAZY: not yet worth it. Nothing is installed before somebody has lost
 * patience, and nobody finds it again.
 */
static bool morsel_is_patient(struct morsel_mm *mmm)
{
	return atomic_read(&mmm->patience) > 0 &&
	       atomic_dec_if_positive(&mmm->patience) >= 0;
}

static vm_fault_t morsel_vma_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct morsel *m = vma->vm_private_data;
	struct morsel_chunk *chunk = morsel_chunk_at(vma, vmf->address);
	struct morsel_window *window;
	struct morsel_mm *mmm;
	unsigned long seq;
	bool private;
	int tries;

	if (!chunk)
		return m->fs_ops->fault(vmf);

	mmm = morsel_mm_of(vma->vm_mm);
	if (morsel_is_patient(mmm))
		return m->fs_ops->fault(vmf);
	/* Pairs with the release in morsel_mm_register(). */
	if (!smp_load_acquire(&mmm->registered)) {
		if (vmf->flags & FAULT_FLAG_ALLOW_RETRY)
			return morsel_register_and_retry(vmf);
		/*
		 * Nothing is or will be installed here while this fault lasts:
		 * without ALLOW_RETRY it holds the mmap lock.
		 */
		return m->fs_ops->fault(vmf);
	}
	/* The pages in a table are those inside the file. */
	if (vmf->pgoff - (m->pgoff + (chunk - m->tables->chunk) * PTRS_PER_PTE) >=
	    chunk->nr)
		return VM_FAULT_SIGBUS;

	window = morsel_window(mmm, vmf->address);
	if (!window)
		return VM_FAULT_OOM;

	for (tries = 0; tries < MORSEL_FAULT_TRIES; tries++) {
		/* Sleeps while something is being invalidated. */
		seq = mmu_interval_read_begin(&mmm->sub);
		spin_lock(&mmm->lock);
		if (!mmu_interval_read_retry(&mmm->sub, seq)) {
			private = !window->slot[pmd_index(vmf->address)] &&
				  !pmd_none(*vmf->pmd);
			if (!private)
				morsel_install(mmm, window, vmf);
			spin_unlock(&mmm->lock);
			return private ? m->fs_ops->fault(vmf) :
					 VM_FAULT_NOPAGE;
		}
		spin_unlock(&mmm->lock);
		if (fatal_signal_pending(current))
			break;
	}
	/* Back to user space, which takes signals and faults again. */
	return VM_FAULT_NOPAGE;
}

/*
 * Called before fault(), since 6.4 without being allowed to sleep: leave to it
 * what may become shared. A table that is there and not ours stays private.
 */
static vm_fault_t morsel_vma_map_pages(struct vm_fault *vmf, pgoff_t start,
				       pgoff_t end)
{
	struct morsel *m = vmf->vma->vm_private_data;
	struct morsel_window *window;
	struct morsel_mm *mmm;
	pmd_t pmd;

	if (morsel_chunk_at(vmf->vma, vmf->address)) {
		pmd = READ_ONCE(*vmf->pmd);
		/* Pairs with the barrier in morsel_install(). */
		smp_rmb();
		mmm = morsel_mm_of(vmf->vma->vm_mm);
		if (morsel_is_patient(mmm))
			return m->fs_ops->map_pages(vmf, start, end);
		window = xa_load(&mmm->windows, vmf->address >> PUD_SHIFT);
		if (pmd_none(pmd) || pmd_leaf(pmd) ||
		    (window && READ_ONCE(window->slot[pmd_index(vmf->address)])))
			return 0;
	}
	return m->fs_ops->map_pages(vmf, start, end);
}

/*
 * A debugger, or who writes to /proc/PID/mem, could not write to the mapping.
 * Such a process needs a private one: make it that, then write. Called with
 * the mmap lock held for reading by __access_remote_vm(), which looks the
 * mapping up anew for each page.
 */
static int morsel_vma_access(struct vm_area_struct *vma, unsigned long addr,
			     void *buf, int len, int write)
{
	struct mm_struct *mm = vma->vm_mm;
	struct page *page;
	void *there;
	int error;

	if (!write)
		return -EFAULT;
	mmap_read_unlock(mm);
	error = mmap_write_lock_killable(mm);
	if (error) {
		mmap_read_lock(mm);
		return error;
	}
	morsel_detach_mm(mm);
	mmap_write_downgrade(mm);

	/*
	 * Whether the caller may write in spite of the protection is not told.
	 * A tracer may; anybody else finds a private mapping when asking again.
	 */
	if (list_empty_careful(&current->ptraced))
		return -EFAULT;
	if (morsel_gup_write(mm, addr, &page) != 1)
		return -EFAULT;
	vma = vma_lookup(mm, addr);
	len = min_t(int, len, PAGE_SIZE - offset_in_page(addr));
	there = kmap_local_page(page);
	copy_to_user_page(vma, page, addr, there + offset_in_page(addr), buf,
			  len);
	kunmap_local(there);
	set_page_dirty_lock(page);
	put_page(page);
	return len;
}

const struct vm_operations_struct morsel_vm_ops = {
	.open = morsel_vma_open,
	.close = morsel_vma_close,
	.may_split = morsel_vma_may_split,
	.fault = morsel_vma_fault,
	.map_pages = morsel_vma_map_pages,
	.access = morsel_vma_access,
};
