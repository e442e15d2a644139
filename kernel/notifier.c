// SPDX-License-Identifier: GPL-2.0
/*
 * Putting a morsel's tables into an address space, and taking them out before
 * the kernel works on the range: nobody else may ever see them as their own.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mmu_notifier.h>
#include <linux/smp.h>
#include <asm/tlbflush.h>

#include "morsel.h"

static void morsel_flush_cpu(void *unused)
{
	__flush_tlb_all();
}

/*
 * flush_tlb_mm_range() is not exported. A CPU that does not run this address
 * space now sees the new generation when it switches to it.
 */
static void morsel_flush(struct mm_struct *mm)
{
	atomic64_inc_return(&mm->context.tlb_gen);
	on_each_cpu_mask(morsel_cpus(mm), morsel_flush_cpu, NULL, true);
}

/* Only for addresses where something is installed: the levels exist. */
static pmd_t *morsel_pmd(struct mm_struct *mm, unsigned long addr)
{
	return pmd_offset(pud_offset(p4d_offset(pgd_offset(mm, addr), addr),
				     addr), addr);
}

static bool morsel_is_frozen(pmd_t pmd)
{
	return MORSEL_FREEZE &&
	       !((pmd_val(pmd) ^ pmd_val(morsel_frozen)) & ~_PAGE_ACCESSED);
}

static bool morsel_is_chunk(pmd_t pmd, const struct morsel_chunk *chunk)
{
	return !((pmd_val(pmd) ^ pmd_val(chunk->entry)) &
		 ~(_PAGE_ACCESSED | _PAGE_SOFT_DIRTY));
}

/**
 * morsel_install - install all of a mapping that is missing around an address
 * @mmm: the address space, its lock held, no invalidation in progress
 * @window: the window of the address
 * @vmf: the fault at the address
 */
void morsel_install(struct morsel_mm *mmm, struct morsel_window *window,
		    struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long base = vmf->address & PUD_MASK;
	unsigned long addr = max(base, ALIGN(vma->vm_start, PMD_SIZE));
	unsigned long end = min(base + PUD_SIZE, vma->vm_end & PMD_MASK);
	pmd_t *pmds = vmf->pmd - pmd_index(vmf->address);
	struct morsel_chunk *chunk, **slot;
	long installed = 0;
	spinlock_t *ptl;
	pmd_t *pmd;

	ptl = pmd_lock(mmm->mm, vmf->pmd);
	for (; addr < end; addr += PMD_SIZE) {
		chunk = morsel_chunk_at(vma, addr);
		pmd = pmds + pmd_index(addr);
		slot = &window->slot[pmd_index(addr)];
		if (!chunk || (*slot ? !morsel_is_frozen(*pmd) :
				       !pmd_none(*pmd)))
			continue;
		WRITE_ONCE(*slot, chunk);
		/* Pairs with the barrier in morsel_vma_map_pages(). */
		smp_wmb();
		set_pmd(pmd, chunk->entry);
		installed++;
	}
	spin_unlock(ptl);
	atomic64_add(installed, &morsel_count.installed);
}

/* What one slot refers to; true if CPUs may still know of it. */
static bool morsel_take_out(struct mm_struct *mm, unsigned long addr,
			    struct morsel_chunk **slot, bool freeze)
{
	pmd_t *pmd = morsel_pmd(mm, addr);
	spinlock_t *ptl = pmd_lock(mm, pmd);
	bool frozen = morsel_is_frozen(*pmd);
	bool flush = true;

	if (!frozen && !morsel_is_chunk(*pmd, *slot)) {
		pr_err_once("a page-table entry was changed: %lx at %lx\n",
			    (unsigned long)pmd_val(*pmd), addr);
		atomic64_inc(&morsel_count.damaged);
		*slot = NULL;
	} else if (freeze && !pmd_leaf(*pmd)) {
		flush = !frozen;
		if (!frozen) {
			set_pmd(pmd, morsel_frozen);
			atomic64_inc(&morsel_count.frozen);
		}
	} else {
		pmd_clear(pmd);
		*slot = NULL;
		atomic64_inc(&morsel_count.removed);
	}
	spin_unlock(ptl);
	return flush;
}

/*
 * All of @only in [@start, @end), or everything if it is NULL. Returns whether
 * to flush.
 */
static bool morsel_sweep(struct morsel_mm *mmm, unsigned long start,
			 unsigned long end, struct morsel *only, bool freeze)
{
	unsigned long key, addr, stop;
	struct morsel_window *window;
	bool flush = false;

	xa_for_each_range(&mmm->windows, key, window, start >> PUD_SHIFT,
			  (end - 1) >> PUD_SHIFT) {
		addr = max(key << PUD_SHIFT, start & PMD_MASK);
		stop = min((key + 1) << PUD_SHIFT, end);
		spin_lock(&mmm->lock);
		for (; addr < stop; addr += PMD_SIZE) {
			struct morsel_chunk **slot =
				&window->slot[pmd_index(addr)];

			if (*slot && (!only || (*slot)->morsel == only))
				flush |= morsel_take_out(mmm->mm, addr, slot,
							 freeze);
		}
		spin_unlock(&mmm->lock);
	}
	return flush;
}

/* A morsel that is installed in [@start, @end), or NULL. */
static struct morsel *morsel_first(struct morsel_mm *mmm, unsigned long start,
				   unsigned long end)
{
	unsigned long key, addr, stop;
	struct morsel_window *window;
	struct morsel *m = NULL;

	xa_for_each_range(&mmm->windows, key, window, start >> PUD_SHIFT,
			  (end - 1) >> PUD_SHIFT) {
		addr = max(key << PUD_SHIFT, start & PMD_MASK);
		stop = min((key + 1) << PUD_SHIFT, end);
		spin_lock(&mmm->lock);
		for (; addr < stop && !m; addr += PMD_SIZE)
			if (window->slot[pmd_index(addr)])
				m = window->slot[pmd_index(addr)]->morsel;
		spin_unlock(&mmm->lock);
		if (m)
			break;
	}
	return m;
}

/* As morsel_clear(), without the flush; returns whether it is needed. */
static bool morsel_clear_entries(struct morsel_mm *mmm, unsigned long start,
				 unsigned long end)
{
	bool flush = false;
	struct morsel *m;

	if (!MORSEL_FREEZE)
		return morsel_sweep(mmm, start, end, NULL, false);

	while ((m = morsel_first(mmm, start, end))) {
		morsel_rmap_lock(m->mapping);
		flush |= morsel_sweep(mmm, start, end, m, false);
		morsel_rmap_unlock(m->mapping);
	}
	return flush;
}

/**
 * morsel_clear - leave nothing of ours in a range
 * @mmm: the address space; mmap lock held for writing, or the mappings in the
 *	range cannot be found any more
 * @start: start of the range
 * @end: its end
 */
void morsel_clear(struct morsel_mm *mmm, unsigned long start,
		  unsigned long end)
{
	if (morsel_clear_entries(mmm, start, end))
		morsel_flush(mmm->mm);
}

static bool morsel_invalidate(struct mmu_interval_notifier *sub,
			      const struct mmu_notifier_range *range,
			      unsigned long seq)
{
	struct morsel_mm *mmm = container_of(sub, struct morsel_mm, sub);
	unsigned long start = range->start, end = range->end;

	/* Whoever is about to install something in the range starts again. */
	spin_lock(&mmm->lock);
	mmu_interval_set_seq(sub, seq);
	spin_unlock(&mmm->lock);

	switch (range->event) {
	case MMU_NOTIFY_RELEASE:
		/*
		 * No CPU runs it, and exit_mmap() flushes all that ever did
		 * before our mappings are closed. Only the OOM reaper may
		 * still walk the tables.
		 */
		if (MORSEL_FREEZE)
			mmap_write_lock(mmm->mm);
		morsel_clear_entries(mmm, start, end);
		if (MORSEL_FREEZE)
			mmap_write_unlock(mmm->mm);
		return true;
	case MMU_NOTIFY_UNMAP:
	case MMU_NOTIFY_PROTECTION_VMA:
		/*
		 * From system calls that hold the mmap lock for writing, or
		 * have taken the mappings out of the tree; but also, not
		 * blockable, from the OOM reaper, which does neither.
		 */
		if (mmu_notifier_range_blockable(range)) {
			morsel_clear(mmm, start, end);
			return true;
		}
		fallthrough;
	default:
		if (morsel_sweep(mmm, start, end, NULL, MORSEL_FREEZE))
			morsel_flush(mmm->mm);
		return true;
	}
}

const struct mmu_interval_notifier_ops morsel_notifier_ops = {
	.invalidate = morsel_invalidate,
};
