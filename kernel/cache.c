// SPDX-License-Identifier: GPL-2.0
/*
 * Which morsels there are: found by file and region, filled by the first who
 * needs them while the others wait, gone with the last reference.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/magic.h>
#include <linux/mman.h>

#include "morsel.h"

#define GFS2_MAGIC 0x01161970 /* linux/gfs2_ondisk.h, which is not always there */

static DEFINE_HASHTABLE(morsel_cache, 8);
static DEFINE_SPINLOCK(morsel_cache_lock);
static u64 morsel_last_id;

/**
 * morsel_suitable_inode - may regions of a file be shared at all?
 * @inode: what holds its pages
 *
 * What is needed is that nothing but this kernel changes the file's pages.
 *
 * Return: MORSEL_WHY_NONE or MORSEL_WHY_FILESYSTEM.
 */
u32 morsel_suitable_inode(const struct inode *inode)
{
	if (!S_ISREG(inode->i_mode) || IS_DAX(inode) || IS_SWAPFILE(inode))
		return MORSEL_WHY_FILESYSTEM;

	switch (inode->i_sb->s_magic) {
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
		return MORSEL_WHY_NONE;
	case FUSE_SUPER_MAGIC:
	case GFS2_MAGIC:
	case OCFS2_SUPER_MAGIC:
		return MORSEL_WHY_FILESYSTEM;
	}
	if (!(inode->i_sb->s_type->fs_flags & FS_REQUIRES_DEV) ||
	    !inode->i_mapping->a_ops->read_folio)
		return MORSEL_WHY_FILESYSTEM;
	return MORSEL_WHY_NONE;
}

/**
 * morsel_suitable - the same of an open file
 * @backing: the file that a mapping refers to
 *
 * Return: MORSEL_WHY_NONE or MORSEL_WHY_FILESYSTEM.
 */
u32 morsel_suitable(struct file *backing)
{
	struct inode *inode = file_inode(backing);

	if (backing->f_mapping != inode->i_mapping)
		return MORSEL_WHY_FILESYSTEM;
	return morsel_suitable_inode(inode);
}

/* Whether a morsel is of this region. */
static bool morsel_is_of(const struct morsel *m, struct address_space *mapping,
			 const struct morsel_region *region)
{
	return m->mapping == mapping &&
	       m->pgoff == region->offset >> PAGE_SHIFT &&
	       m->pages == region->length >> PAGE_SHIFT &&
	       m->prot == region->prot &&
	       m->huge == !!(region->flags & MORSEL_HUGE);
}

/* With a reference; cache lock held. */
static struct morsel *morsel_lookup(struct address_space *mapping,
				    const struct morsel_region *region)
{
	struct morsel *m;

	hash_for_each_possible(morsel_cache, m, node, (unsigned long)mapping)
		if (morsel_is_of(m, mapping, region) &&
		    morsel_tryget_file(m->file))
			return m;
	return NULL;
}

/**
 * morsel_mapping_of - the page cache to which mappings of a file refer
 * @file: the file, as somebody opened it
 *
 * Return: of overlayfs, that of the file below; NULL if there is none.
 */
struct address_space *morsel_mapping_of(struct file *file)
{
	struct inode *inode = d_real_inode(file->f_path.dentry);

	return inode ? inode->i_mapping : NULL;
}

/**
 * morsel_is_ready - has the morsel of a region been filled?
 * @file: the file, as the caller opened it
 * @region: what the caller wants; its length rounded
 *
 * It may be emptied a moment later.
 *
 * Return: whether it has.
 */
bool morsel_is_ready(struct file *file, const struct morsel_region *region)
{
	struct address_space *mapping = morsel_mapping_of(file);
	bool ready = false;
	struct morsel *m;

	spin_lock(&morsel_cache_lock);
	hash_for_each_possible(morsel_cache, m, node, (unsigned long)mapping)
		ready |= morsel_is_of(m, mapping, region) && READ_ONCE(m->held);
	spin_unlock(&morsel_cache_lock);
	return ready;
}

/**
 * morsel_find - the morsel of a region, perhaps still empty
 * @backing: the file that a mapping of the region refers to
 * @region: what the caller wants; its length rounded
 *
 * Return: the morsel with a reference, for fput(m->file), or an error.
 */
struct morsel *morsel_find(struct file *backing,
			   const struct morsel_region *region)
{
	struct address_space *mapping = backing->f_mapping;
	struct morsel *m, *other;
	struct file *file;

	spin_lock(&morsel_cache_lock);
	other = morsel_lookup(mapping, region);
	spin_unlock(&morsel_cache_lock);
	if (other)
		return other;

	m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	if (!m)
		return ERR_PTR(-ENOMEM);
	m->mapping = mapping;
	m->pgoff = region->offset >> PAGE_SHIFT;
	m->pages = region->length >> PAGE_SHIFT;
	m->prot = region->prot;
	m->huge = region->flags & MORSEL_HUGE;

	INIT_HLIST_NODE(&m->node);
	mutex_init(&m->lock);
	m->backing = get_file(backing);
	m->page_prot = vm_get_page_prot(VM_READ | VM_MAYSHARE |
					(m->prot & PROT_EXEC ? VM_EXEC : 0));
	file = anon_inode_getfile("[morsel]", &morsel_fops, m, O_RDONLY);
	if (IS_ERR(file)) {
		fput(m->backing);
		kfree(m);
		return ERR_CAST(file);
	}
	m->file = file;
	atomic64_inc(&morsel_count.morsels);

	spin_lock(&morsel_cache_lock);
	other = morsel_lookup(mapping, region);
	if (!other) {
		m->id = ++morsel_last_id;
		hash_add(morsel_cache, &m->node, (unsigned long)m->mapping);
	}
	spin_unlock(&morsel_cache_lock);
	if (!other)
		return m;
	fput(m->file);
	return other;
}

/**
 * morsel_use - make sure that a morsel is filled and stays so
 * @m: the morsel
 * @fs_ops: operations of a plain mapping of its region, NULL for a hold
 * @fill: if it is empty; otherwise that is an error
 *
 * Called without the mmap lock: it reads the file.
 *
 * Return: 0, with a use that morsel_unuse() ends (it gives back the caller's
 * reference as well), or an error as of morsel_fill(); -EXDEV if the file system
 * does not always use the same operations; -ENODATA if it is empty.
 */
int morsel_use(struct morsel *m, const struct vm_operations_struct *fs_ops,
	       bool fill)
{
	int error = 0;

	/* Somebody may have the lock to fill it, which takes long. */
	if (!fill && !READ_ONCE(m->held))
		return -ENODATA;
	if (mutex_lock_killable(&m->lock))
		return -EINTR;
	if (!m->tables)
		error = fill ? morsel_fill(m) : -ENODATA;
	if (!error && fs_ops) {
		if (!m->fs_ops)
			m->fs_ops = fs_ops;
		else if (m->fs_ops != fs_ops)
			error = -EXDEV;
	}
	if (!error)
		atomic_inc(&m->users);
	mutex_unlock(&m->lock);
	return error;
}

/**
 * morsel_unuse - end a use and drop a reference
 * @m: the morsel, which may be gone afterwards
 */
void morsel_unuse(struct morsel *m)
{
	atomic_dec(&m->users);
	fput(m->file);
}

/**
 * morsel_next - walk through all morsels
 * @id: where to continue, 0 at first
 * @idle: only filled ones that nobody uses
 *
 * Return: the one with the lowest higher id, with a reference, or NULL.
 */
struct morsel *morsel_next(u64 id, bool idle)
{
	struct morsel *m, *best = NULL;
	int bucket;

	spin_lock(&morsel_cache_lock);
	hash_for_each(morsel_cache, bucket, m, node) {
		if (m->id <= id || (best && m->id > best->id))
			continue;
		if (idle && (!READ_ONCE(m->held) || atomic_read(&m->users)))
			continue;
		if (!morsel_tryget_file(m->file))
			continue;
		if (best)
			fput(best->file);
		best = m;
	}
	spin_unlock(&morsel_cache_lock);
	return best;
}

/**
 * morsel_idle_pages - what morsels hold that nobody uses
 *
 * Return: pages, copies included.
 */
unsigned long morsel_idle_pages(void)
{
	unsigned long pages = 0;
	struct morsel *m;
	int bucket;

	spin_lock(&morsel_cache_lock);
	hash_for_each(morsel_cache, bucket, m, node)
		if (!atomic_read(&m->users))
			pages += READ_ONCE(m->held);
	spin_unlock(&morsel_cache_lock);
	return pages;
}

/**
 * morsel_forget_all - let nobody find the morsels that exist now
 *
 * Who has one keeps it; who asks for the same region gets a new one.
 */
void morsel_forget_all(void)
{
	struct hlist_node *next;
	struct morsel *m;
	int bucket;

	spin_lock(&morsel_cache_lock);
	hash_for_each_safe(morsel_cache, bucket, next, m, node)
		hash_del(&m->node);
	spin_unlock(&morsel_cache_lock);
}

/**
 * morsel_release - the last reference to a morsel is gone
 * @inode: unused
 * @file: its file
 *
 * Return: 0.
 */
int morsel_release(struct inode *inode, struct file *file)
{
	struct morsel *m = file->private_data;

	spin_lock(&morsel_cache_lock);
	hash_del(&m->node);
	spin_unlock(&morsel_cache_lock);
	morsel_empty(m);
	fput(m->backing);
	atomic64_dec(&morsel_count.morsels);
	kfree(m);
	return 0;
}

/**
 * morsel_describe - fill in what user space may know of a morsel
 * @m: the morsel
 * @stat: where to
 *
 * Return: 0 or -EINTR.
 */
int morsel_describe(struct morsel *m, struct morsel_stat *stat)
{
	struct inode *inode = m->mapping->host;

	*stat = (struct morsel_stat) {
		.id = m->id,
		.device = new_encode_dev(inode->i_sb->s_dev),
		.inode = inode->i_ino,
		.offset = (u64)m->pgoff << PAGE_SHIFT,
		.length = (u64)m->pages << PAGE_SHIFT,
		.mappings = atomic_read(&m->users),
		.prot = m->prot,
		.flags = m->huge ? MORSEL_HUGE : 0,
	};
	if (mutex_lock_killable(&m->lock))
		return -EINTR;
	if (m->tables) {
		stat->resident = ((u64)m->tables->pages << PAGE_SHIFT) +
				 (u64)m->tables->huge * HPAGE_PMD_SIZE;
		stat->tables = m->tables->nr - m->tables->huge;
		stat->huge = m->tables->huge;
	}
	mutex_unlock(&m->lock);
	return 0;
}
