// SPDX-License-Identifier: GPL-2.0
/*
 * Giving memory back. A morsel's pages cannot be reclaimed while it has them:
 * first those go that are only held, then, in distress, all of them. Their
 * mappings become private ones, whose pages the kernel can reclaim.
 */
#include <linux/jiffies.h>
#include <linux/shrinker.h>

#include "morsel.h"

/* How long nothing is filled after all morsels had to go. */
#define MORSEL_PAUSE (10 * HZ)

/*
 * A shrinker is asked for a part of what it has that doubles with each step of
 * urgency, and called once a whole batch is due. With a batch that it never
 * has that is when everything is asked for: at the last steps before the OOM
 * killer. (echo 2 >/proc/sys/vm/drop_caches asks for everything too.)
 */
#define MORSEL_BATCH_ALL LONG_MAX

static struct shrinker *morsel_idle_shrinker, *morsel_last_shrinker;
static unsigned long morsel_pause_end;

bool morsel_memory_is_short(void)
{
	return time_before(jiffies, READ_ONCE(morsel_pause_end));
}

/* Only held ones. Returns how many pages are not pinned any more. */
static unsigned long morsel_drop_idle(unsigned long wanted)
{
	unsigned long freed = 0;
	struct morsel *m;
	u64 id = 0;

	while (freed < wanted && (m = morsel_next(id, true))) {
		id = m->id;
		/* Whoever has the lock is about to use it. */
		if (mutex_trylock(&m->lock)) {
			if (!atomic_read(&m->users) && m->tables) {
				freed += m->held;
				morsel_empty(m);
				atomic64_inc(&morsel_count.dropped);
			}
			mutex_unlock(&m->lock);
		}
		fput(m->file);
	}
	return freed;
}

static unsigned long morsel_idle_count(struct shrinker *s,
				       struct shrink_control *sc)
{
	return morsel_idle_pages() ?: SHRINK_EMPTY;
}

static unsigned long morsel_idle_scan(struct shrinker *s,
				      struct shrink_control *sc)
{
	sc->nr_scanned = sc->nr_to_scan;
	return morsel_drop_idle(sc->nr_to_scan) ?: SHRINK_STOP;
}

/* Not in the shrinker itself: it may be called with any lock held. */
static void morsel_last_resort(struct work_struct *work)
{
	morsel_forget_all();
	morsel_detach_all(false);
}

static DECLARE_WORK(morsel_last_work, morsel_last_resort);

static unsigned long morsel_last_count(struct shrinker *s,
				       struct shrink_control *sc)
{
	return atomic64_read(&morsel_count.mappings) ?
		atomic64_read(&morsel_count.pinned) : SHRINK_EMPTY;
}

static unsigned long morsel_last_scan(struct shrinker *s,
				      struct shrink_control *sc)
{
	WRITE_ONCE(morsel_pause_end, jiffies + MORSEL_PAUSE);
	queue_work(morsel_wq, &morsel_last_work);
	return SHRINK_STOP;
}

int morsel_shrinker_init(void)
{
	static const struct morsel_shrinker_ops idle = {
		.name = "morsel-idle",
		.count = morsel_idle_count,
		.scan = morsel_idle_scan,
	};
	static const struct morsel_shrinker_ops last = {
		.name = "morsel-last",
		.count = morsel_last_count,
		.scan = morsel_last_scan,
		.batch = MORSEL_BATCH_ALL,
	};

	morsel_pause_end = jiffies;
	morsel_idle_shrinker = morsel_shrinker_add(&idle);
	if (!morsel_idle_shrinker)
		return -ENOMEM;
	morsel_last_shrinker = morsel_shrinker_add(&last);
	if (morsel_last_shrinker)
		return 0;
	morsel_shrinker_remove(morsel_idle_shrinker);
	return -ENOMEM;
}

void morsel_shrinker_exit(void)
{
	morsel_shrinker_remove(morsel_last_shrinker);
	morsel_shrinker_remove(morsel_idle_shrinker);
	cancel_work_sync(&morsel_last_work);
}
