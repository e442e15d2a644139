// SPDX-License-Identifier: GPL-2.0
/*
 * What is known about each address space that has a morsel mapped. It exists
 * as long as such a mapping does, and listens to what happens to the address
 * space from the first fault on: nothing is installed before.
 */
#include <linux/hashtable.h>
#include <linux/oom.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>

#include "morsel.h"

static DEFINE_HASHTABLE(morsel_mms, 10);
static LIST_HEAD(morsel_mm_list);
static u64 morsel_mm_last_id;
static DEFINE_SPINLOCK(morsel_mms_lock);

/**
 * morsel_mm_of - what is known about an address space
 * @mm: which
 *
 * Return: it, or NULL. It stays while the caller prevents the address space's
 * mappings from being changed and one of them is ours.
 */
struct morsel_mm *morsel_mm_of(struct mm_struct *mm)
{
	struct morsel_mm *mmm;

	rcu_read_lock();
	hash_for_each_possible_rcu(morsel_mms, mmm, node, (unsigned long)mm)
		if (mmm->mm == mm)
			break;
	rcu_read_unlock();
	return mmm;
}

/**
 * morsel_mm_get - count a mapping
 * @mm: its address space, mmap lock held for writing
 *
 * Return: the address space, for morsel_mm_put(), or NULL without memory.
 */
struct morsel_mm *morsel_mm_get(struct mm_struct *mm)
{
	struct morsel_mm *mmm;

	mmap_assert_write_locked(mm);
	mmm = morsel_mm_of(mm);
	if (mmm) {
		atomic_inc(&mmm->vmas);
		return mmm;
	}
	mmm = kzalloc(sizeof(*mmm), GFP_KERNEL_ACCOUNT);
	if (!mmm)
		return NULL;
	mmm->mm = mm;
	spin_lock_init(&mmm->lock);
	xa_init(&mmm->windows);
	atomic_set(&mmm->vmas, 1);

	spin_lock(&morsel_mms_lock);
	mmm->id = ++morsel_mm_last_id;
	list_add_tail(&mmm->list, &morsel_mm_list);
	hash_add_rcu(morsel_mms, &mmm->node, (unsigned long)mm);
	spin_unlock(&morsel_mms_lock);
	atomic64_inc(&morsel_count.processes);
	return mmm;
}

/**
 * morsel_mm_put - a mapping is gone, and nothing is installed in it any more
 * @mmm: its address space, which is freed with the last one
 */
void morsel_mm_put(struct morsel_mm *mmm)
{
	struct morsel_window *window;
	unsigned long key;

	if (!atomic_dec_and_lock(&mmm->vmas, &morsel_mms_lock))
		return;
	hash_del_rcu(&mmm->node);
	list_del(&mmm->list);
	spin_unlock(&morsel_mms_lock);

	if (mmm->registered)
		mmu_interval_notifier_remove(&mmm->sub);
	xa_for_each(&mmm->windows, key, window)
		kfree(window);
	xa_destroy(&mmm->windows);
	atomic64_dec(&morsel_count.processes);
	kfree_rcu(mmm, rcu);
}

/**
 * morsel_mm_register - listen to an address space
 * @mmm: which, mmap lock held for writing
 *
 * One subscription for all addresses: an interval of each mapping would have
 * to follow splits and moves, and the windows are searched quickly. Interval
 * notifiers need no SRCU grace period when a process exits.
 *
 * Return: 0 or a negative errno.
 */
int morsel_mm_register(struct morsel_mm *mmm)
{
	int error;

	if (mmm->registered)
		return 0;
	error = mmu_interval_notifier_insert_locked(&mmm->sub, mmm->mm, 0,
						    ULONG_MAX,
						    &morsel_notifier_ops);
	if (!error)
		/* Pairs with the acquire in the fault handler. */
		smp_store_release(&mmm->registered, true);
	return error;
}

/**
 * morsel_window - the window for an address
 * @mmm: whose
 * @addr: the address
 *
 * Return: the window, made if necessary, or NULL without memory.
 */
struct morsel_window *morsel_window(struct morsel_mm *mmm, unsigned long addr)
{
	unsigned long key = addr >> PUD_SHIFT;
	struct morsel_window *window = xa_load(&mmm->windows, key), *other;

	if (window)
		return window;
	window = kzalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);
	if (!window)
		return NULL;
	other = xa_cmpxchg(&mmm->windows, key, NULL, window,
			   GFP_KERNEL_ACCOUNT);
	if (!other)
		return window;
	kfree(window);
	return xa_is_err(other) ? NULL : other;
}

/**
 * morsel_detach_mm - make all of an address space's mappings private ones
 * @mm: which, mmap lock held for writing
 */
void morsel_detach_mm(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned long addr = 0;

	/*
	 * Set on exit, where nothing is left to do, and after a failed fork,
	 * when the child's tree may still hold mappings of its parent.
	 */
	if (test_bit(MMF_OOM_SKIP, &mm->flags))
		return;
	while ((vma = find_vma(mm, addr)) && vma->vm_mm == mm) {
		addr = vma->vm_end;
		if (vma->vm_ops == &morsel_vm_ops)
			morsel_detach_vma(vma);
	}
}

/* The next address space after @id, with mmgrab(). */
static struct mm_struct *morsel_mm_next(u64 *id)
{
	struct mm_struct *mm = NULL;
	struct morsel_mm *mmm;

	spin_lock(&morsel_mms_lock);
	list_for_each_entry(mmm, &morsel_mm_list, list) {
		if (mmm->id <= *id)
			continue;
		*id = mmm->id;
		mm = mmm->mm;
		/* Its mapping is still there, so the struct is too. */
		mmgrab(mm);
		break;
	}
	spin_unlock(&morsel_mms_lock);
	return mm;
}

/**
 * morsel_detach_all - make all mappings private ones
 * @wait: for busy address spaces too
 *
 * Attaching must have been prevented if none shall be left.
 *
 * Return: how many address spaces were busy.
 */
unsigned int morsel_detach_all(bool wait)
{
	struct mm_struct *mm;
	unsigned int busy = 0;
	u64 id = 0;

	while ((mm = morsel_mm_next(&id))) {
		/* Not all kernels have a trylock; one look must do. */
		if (!wait && rwsem_is_locked(&mm->mmap_lock)) {
			busy++;
		} else {
			mmap_write_lock(mm);
			morsel_detach_mm(mm);
			mmap_write_unlock(mm);
		}
		mmdrop(mm);
		cond_resched();
	}
	return busy;
}
