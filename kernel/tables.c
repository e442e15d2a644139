// SPDX-License-Identifier: GPL-2.0
/*
 * The content of a morsel: the pages of a file region and page tables for
 * them, complete before anybody sees them and unchanged until they are freed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fadvise.h>
#include <linux/highmem.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#include "morsel.h"

/* The CPU and /proc/PID/clear_refs change these bits. */
#define MORSEL_VOLATILE (_PAGE_ACCESSED | _PAGE_SOFT_DIRTY)

/*
 * For tables and pages: rather no sharing than an OOM kill, as a memory cgroup
 * that is full would get, since these pages cannot be reclaimed meanwhile.
 */
#define MORSEL_FRUGAL (__GFP_NORETRY | __GFP_NOWARN)

/* Where the PMD entries of ranges point that the kernel is working on. */
static struct page *morsel_frozen_table;
pmd_t morsel_frozen;

static struct page *morsel_table_alloc(void)
{
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO |
				       MORSEL_FRUGAL);

	if (page && !morsel_table_ctor(page)) {
		__free_page(page);
		page = NULL;
	}
	return page;
}

static void morsel_table_free(struct page *page)
{
	morsel_table_dtor(page);
	__free_page(page);
}

/* As pmd_populate() makes it; Xen PV, which would be told, is refused. */
static pmd_t morsel_table_entry(struct page *page)
{
	return __pmd(((pmdval_t)page_to_pfn(page) << PAGE_SHIFT) | _PAGE_TABLE);
}

static u64 morsel_table_sum(struct page *table)
{
	pte_t *pte = page_address(table);
	u64 sum = 1;
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++)
		sum = rol64(sum, 5) ^ (pte_val(READ_ONCE(pte[i])) & ~MORSEL_VOLATILE);
	return sum;
}

static struct page *morsel_read_page(struct morsel *m, pgoff_t index)
{
	struct address_space *mapping = m->mapping;
	gfp_t gfp = mapping_gfp_mask(mapping) | MORSEL_FRUGAL;
	struct page *page;

	if (fatal_signal_pending(current))
		return ERR_PTR(-EINTR);
	if (morsel_fault_injected())
		return ERR_PTR(-ENOMEM);
	cond_resched();

	if (mapping->host->i_sb->s_magic == TMPFS_MAGIC)
		page = shmem_read_mapping_page_gfp(mapping, index, gfp);
	else
		page = read_cache_page_gfp(mapping, index, gfp);
	if (!IS_ERR(page) && PageHWPoison(page)) {
		put_page(page);
		return ERR_PTR(-EIO);
	}
	return page;
}

/* -ENOMEM also if merely no contiguous memory is there. */
static int morsel_fill_huge(struct morsel *m, struct morsel_chunk *chunk,
			    pgoff_t first)
{
	struct page *copy, *page;
	int i;

	copy = alloc_pages(GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_COMP |
			   MORSEL_FRUGAL, HPAGE_PMD_ORDER);
	if (!copy)
		return -ENOMEM;

	for (i = 0; i < HPAGE_PMD_NR; i++) {
		page = morsel_read_page(m, first + i);
		if (IS_ERR(page)) {
			put_page(copy);
			return PTR_ERR(page);
		}
		copy_highpage(copy + i, page);
		put_page(page);
	}
	chunk->page = copy;
	chunk->entry = pmd_mkyoung(pmd_mkhuge(pfn_pmd(page_to_pfn(copy),
						      m->page_prot)));
	return 0;
}

/* What was read before an error stays in @chunk, for morsel_free_chunk(). */
static int morsel_fill_small(struct morsel *m, struct morsel_chunk *chunk,
			     pgoff_t first)
{
	struct page *page;
	pte_t *pte;
	int i;

	chunk->page = morsel_fault_injected() ? NULL : morsel_table_alloc();
	if (!chunk->page)
		return -ENOMEM;
	chunk->entry = morsel_table_entry(chunk->page);

	pte = page_address(chunk->page);
	for (i = 0; i < chunk->nr; i++) {
		page = morsel_read_page(m, first + i);
		if (IS_ERR(page))
			break;
		pte[i] = pte_mkyoung(mk_pte(page, m->page_prot));
	}
	chunk->sum = morsel_table_sum(chunk->page);
	return IS_ERR(page) ? PTR_ERR(page) : 0;
}

static void morsel_free_chunk(struct morsel_chunk *chunk)
{
	pte_t *pte;
	int i;

	if (!chunk->page)
		return;
	if (pmd_leaf(chunk->entry)) {
		put_page(chunk->page);
		return;
	}
	if (morsel_table_sum(chunk->page) != chunk->sum) {
		/* Whose the pages in it are now nobody knows: keep them all. */
		pr_err_once("a shared page table was changed; leaking it\n");
		atomic64_inc(&morsel_count.damaged);
		return;
	}
	pte = page_address(chunk->page);
	for (i = 0; i < PTRS_PER_PTE; i++)
		if (pte_present(pte[i]))
			put_page(pte_page(pte[i]));
	morsel_table_free(chunk->page);
}

static void morsel_free_tables(struct morsel_tables *t)
{
	unsigned int i;

	for (i = 0; i < t->nr; i++)
		morsel_free_chunk(&t->chunk[i]);
	kvfree(t);
}

static void morsel_free_work(struct work_struct *work)
{
	morsel_free_tables(container_of(to_rcu_work(work),
					struct morsel_tables, work));
}

/* @sign: 1 when the tables come, -1 when they go. */
static void morsel_account(struct morsel *m, int sign)
{
	struct morsel_tables *t = m->tables;
	long held = t->pages + (unsigned long)t->huge * HPAGE_PMD_NR;

	WRITE_ONCE(m->held, sign > 0 ? held : 0);
	atomic64_add(sign * held, &morsel_count.pinned);
	atomic64_add(sign * (long)(t->nr - t->huge), &morsel_count.tables);
	atomic64_add(sign * (long)t->huge, &morsel_count.huge);
}

static int morsel_fill_chunks(struct morsel *m, struct morsel_tables *t,
			      pgoff_t pages)
{
	unsigned int i;
	int error;

	for (i = 0; i < t->nr; i++) {
		struct morsel_chunk *chunk = &t->chunk[i];
		pgoff_t done = (pgoff_t)i * PTRS_PER_PTE;

		chunk->morsel = m;
		chunk->nr = min_t(pgoff_t, pages - done, PTRS_PER_PTE);
		error = -ENOMEM;
		/* Only whole chunks: behind the file's end must be nothing. */
		if (m->huge && chunk->nr == PTRS_PER_PTE)
			error = morsel_fill_huge(m, chunk, m->pgoff + done);
		if (!error) {
			t->huge++;
			continue;
		}
		if (error == -ENOMEM)
			error = morsel_fill_small(m, chunk, m->pgoff + done);
		if (error)
			return error;
		t->pages += chunk->nr;
	}
	return 0;
}

/**
 * morsel_fill - read a morsel's pages and build its tables
 * @m: the morsel, empty, its lock held
 *
 * Return: 0, -ETXTBSY if somebody may write to the file, -EDQUOT if the limit
 * does not allow it, -EINTR if the caller is being killed, -EINVAL if the file
 * ends before the region, or what reading or allocating said.
 */
int morsel_fill(struct morsel *m)
{
	unsigned long limit = READ_ONCE(morsel_limit_mib);
	struct morsel_tables *t;
	pgoff_t end, pages;
	int error;

	error = deny_write_access(m->backing);
	if (error)
		return error;

	/* From here on the file keeps its size. */
	end = DIV_ROUND_UP(i_size_read(m->mapping->host), PAGE_SIZE);
	error = -EINVAL;
	if (m->pgoff >= end)
		goto allow;
	pages = min(m->pages, end - m->pgoff);

	/* Several fills at a time may pass the limit together: it is coarse. */
	error = -EDQUOT;
	if (limit && atomic64_read(&morsel_count.pinned) + pages >
		     limit << (20 - PAGE_SHIFT))
		goto allow;
	error = -ENOMEM;
	if (morsel_memory_is_short())
		goto allow;
	t = kvzalloc(struct_size(t, chunk, DIV_ROUND_UP(pages, PTRS_PER_PTE)),
		     GFP_KERNEL_ACCOUNT | MORSEL_FRUGAL);
	if (!t)
		goto allow;
	t->nr = DIV_ROUND_UP(pages, PTRS_PER_PTE);
	INIT_RCU_WORK(&t->work, morsel_free_work);

	/* Reads ahead; without it each page would be waited for. */
	vfs_fadvise(m->backing, (loff_t)m->pgoff << PAGE_SHIFT,
		    (loff_t)pages << PAGE_SHIFT, POSIX_FADV_WILLNEED);

	error = morsel_fill_chunks(m, t, pages);
	if (error) {
		morsel_free_tables(t);
		goto allow;
	}
	m->tables = t;
	morsel_account(m, 1);
	atomic64_inc(&morsel_count.built);
	return 0;

allow:
	allow_write_access(m->backing);
	return error;
}

/**
 * morsel_empty - let go of a morsel's tables and pages
 * @m: the morsel, without users, its lock held or nobody else knowing it
 */
void morsel_empty(struct morsel *m)
{
	struct morsel_tables *t = m->tables;

	if (!t)
		return;
	morsel_account(m, -1);
	m->tables = NULL;
	allow_write_access(m->backing);
	/* Since 6.5 the kernel may still be looking at a table it found. */
	queue_rcu_work(morsel_wq, &t->work);
}

int morsel_tables_init(void)
{
	if (!MORSEL_FREEZE)
		return 0;
	morsel_frozen_table = morsel_table_alloc();
	if (!morsel_frozen_table)
		return -ENOMEM;
	morsel_frozen = morsel_table_entry(morsel_frozen_table);
	return 0;
}

void morsel_tables_exit(void)
{
	if (!morsel_frozen_table)
		return;
	if (memchr_inv(page_address(morsel_frozen_table), 0, PAGE_SIZE)) {
		pr_err("the frozen page table was changed; leaking it\n");
		return;
	}
	morsel_table_free(morsel_frozen_table);
}
