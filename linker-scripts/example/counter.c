/* A C library with what a linker script can get wrong: a constructor and a destructor, thread-local variables with and
 * without content, pointers that are relocated, zeroed data. */
#include <pthread.h>
#include <stdio.h>

static int started;
static long history[1000];
static _Thread_local int count = 10;
static _Thread_local int zeroed;
static const char *const names[] = { "main", "other" };

__attribute__((constructor)) static void start(void) { started = 1; }
__attribute__((destructor)) static void stop(void) { puts("counter: done"); }

int counter_next(void)
{
	zeroed++;
	return history[zeroed] = ++count;
}

static void *in_thread(void *unused)
{
	printf("counter: %s thread %d\n", names[1], counter_next());
	return unused;
}

void counter_show(void)
{
	pthread_t thread;
	printf("counter: started %d, %s thread %d\n", started, names[0], counter_next());
	pthread_create(&thread, 0, in_thread, 0);
	pthread_join(thread, 0);
	counter_next();
	printf("counter: %s thread, history %ld\n", names[0], history[2]);
}
