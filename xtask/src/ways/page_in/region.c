#define _GNU_SOURCE
#include "region.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const way_names[WAYS] = {
	"own-base", "eager", "thread", "monitor", "sigbus", "sigsegv", "shared", "minor", "fuse",
};

/* Who makes pages, and of what: for the thread, the monitor and the handlers, which get nothing else. */
struct server {
	enum way way;
	const struct region *region;
	char *start; /* where the process has the region */
	int uffd;
	int memfd;
};

static struct server own; /* this process's */

static const void *map_file(const char *path, int *file, size_t *size)
{
	struct stat status;

	*file = open(path, O_RDONLY | O_CLOEXEC);
	if (*file < 0 || fstat(*file, &status))
		err(1, "%s", path);
	*size = status.st_size;
	const void *start = mmap(NULL, *size, PROT_READ, MAP_SHARED | MAP_POPULATE, *file, 0);
	if (start == MAP_FAILED)
		err(1, "%s", path);
	return start;
}

struct region region_read(const char *pages, const char *words)
{
	struct region region = { .delta = 0x200000 };
	size_t size, at = 0;
	int file;

	region.words = map_file(words, &file, &size);
	size_t count = size / sizeof *region.words;
	region.pages = map_file(pages, &region.file, &size);
	region.count = size / PAGE;
	uint32_t *first = calloc(region.count + 1, sizeof *first);
	if (!first)
		err(1, "no memory");
	for (size_t page = 0; page <= region.count; page++) {
		while (at < count && region.words[at] < page * PAGE)
			at++;
		first[page] = at;
		if (page && first[page - 1] == at)
			errx(1, "%s: nothing on page %zu", words, page - 1);
	}
	region.first = first;
	return region;
}

size_t region_word(const struct region *region, size_t page)
{
	return region->words[region->first[page]];
}

uint64_t region_expected(const struct region *region, enum way way, size_t page)
{
	uint64_t word;

	memcpy(&word, region->pages + region_word(region, page), sizeof word);
	return word + (way == OWN_BASE ? 0 : region->delta);
}

/* Changes the addresses of one page, which is at `start`. */
static void relocate(const struct region *region, size_t page, char *start)
{
	for (size_t at = region->first[page]; at < region->first[page + 1]; at++)
		*(uint64_t *)(start + region->words[at] % PAGE) += region->delta;
}

void make_page(const struct region *region, size_t page, char *start)
{
	memcpy(start, region->pages + page * PAGE, PAGE);
	relocate(region, page, start);
}

/* Provides one page that the process has asked for. Only system calls: a handler may do it. */
static bool provide(const struct server *server, size_t page, bool minor)
{
	char made[PAGE] __attribute__((aligned(PAGE)));
	uint64_t address = (uint64_t)server->start + page * PAGE;

	if (!minor)
		make_page(server->region, page, made);
	if (server->memfd < 0) {
		struct uffdio_copy copy = { .dst = address, .src = (uint64_t)made, .len = PAGE };
		/* Another thread may have been faster. */
		return !ioctl(server->uffd, UFFDIO_COPY, &copy) || errno == EEXIST;
	}
	/* A whole page appears at once: it is locked until it is written. */
	if (!minor && pwrite(server->memfd, made, PAGE, page * PAGE) != PAGE)
		return false;
	if (server->way == MINOR) {
		struct uffdio_continue go_on = { .range = { address, PAGE } };
		return !ioctl(server->uffd, UFFDIO_CONTINUE, &go_on) || errno == EEXIST;
	}
	struct uffdio_range range = { address, PAGE };
	return !ioctl(server->uffd, UFFDIO_WAKE, &range);
}

static void *serve(void *argument)
{
	const struct server *server = argument;
	struct uffd_msg message;

	while (read(server->uffd, &message, sizeof message) == sizeof message) {
		if (message.event != UFFD_EVENT_PAGEFAULT)
			continue;
		uint64_t offset = message.arg.pagefault.address - (uint64_t)server->start;
		if (!provide(server, offset / PAGE, message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR))
			err(1, "cannot provide page %zu", (size_t)offset / PAGE);
	}
	return NULL;
}

/* Leaves signals that are none of ours to their default action, at the return. */
static void handler(int signal, siginfo_t *info, void *context)
{
	size_t offset = (char *)info->si_addr - own.start;
	int error = errno;
	(void)context;

	if (offset >= own.region->count * PAGE) {
		sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	} else if (signal == SIGBUS) {
		if (!provide(&own, offset / PAGE, false))
			_exit(3);
	} else {
		char *start = own.start + offset / PAGE * PAGE;
		if (mprotect(start, PAGE, PROT_READ | PROT_WRITE))
			_exit(3);
		relocate(own.region, offset / PAGE, start);
	}
	errno = error;
}

static bool handle(int signal)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	return !sigaction(signal, &action, NULL);
}

/* A userfaultfd for the mapped region; -1 if it is refused. */
static int faults(enum way way, const struct region *region, char *start, bool user_only)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register all = {
		.range = { (uint64_t)start, region->count * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING | (way == MINOR ? UFFDIO_REGISTER_MODE_MINOR : 0),
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | (user_only ? UFFD_USER_MODE_ONLY : 0));

	if (uffd < 0)
		return -1;
	if (way == SIGBUS_)
		api.features = UFFD_FEATURE_SIGBUS;
	else if (way == SHARED)
		api.features = UFFD_FEATURE_MISSING_SHMEM;
	else if (way == MINOR)
		api.features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &all)) {
		int error = errno;
		close(uffd);
		errno = error;
		return -1;
	}
	return uffd;
}

static bool has_monitor(enum way way)
{
	return way == MONITOR || way == SHARED || way == MINOR;
}

/* What is sent to the monitor: the userfaultfd, and where the region is. */
union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static bool send_to_monitor(int socket, int uffd, char *start)
{
	union control control = { 0 };
	struct iovec data = { &start, sizeof start };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};

	control.header = (struct cmsghdr){ CMSG_LEN(sizeof uffd), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), &uffd, sizeof uffd);
	return sendmsg(socket, &message, 0) == sizeof start;
}

static void monitor(enum way way, const struct region *region, int socket, int memfd)
{
	union control control = { 0 };
	struct server server = { .way = way, .region = region, .memfd = memfd };
	struct iovec data = { &server.start, sizeof server.start };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == sizeof server.start) {
		memcpy(&server.uffd, CMSG_DATA(&control.header), sizeof server.uffd);
		serve(&server);
	}
	_exit(0);
}

struct around way_prepare(enum way way, const struct region *region, bool user_only)
{
	struct around around = { .memfd = -1, .socket = -1, .user_only = user_only };

	if (way == FILES) {
		around.memfd = fuse_start(region, &around.monitor);
		around.stays = true;
		return around;
	}
	if (way == SHARED || way == MINOR) {
		around.memfd = memfd_create("pages", MFD_CLOEXEC);
		if (around.memfd < 0 || ftruncate(around.memfd, region->count * PAGE))
			err(1, "no memfd");
	}
	return way_again(way, region, &around);
}

struct around way_again(enum way way, const struct region *region, const struct around *first)
{
	struct around around = *first;
	int sockets[2];

	if (!has_monitor(way))
		return around;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		err(1, "no sockets");
	around.monitor = fork();
	if (around.monitor < 0)
		err(1, "no monitor");
	if (around.monitor == 0)
		monitor(way, region, sockets[1], around.memfd);
	close(sockets[1]);
	around.socket = sockets[0];
	return around;
}

void way_end(struct around *around, bool goes_on)
{
	if (around->memfd >= 0 && !goes_on)
		close(around->memfd);
	if (around->monitor && !(around->stays && goes_on)) {
		kill(around->monitor, SIGKILL);
		waitpid(around->monitor, NULL, 0);
		around->monitor = 0;
	}
	if (around->socket >= 0)
		close(around->socket);
	around->socket = -1;
}

char *way_map(enum way way, const struct region *region, const struct around *around)
{
	bool from_file = way == OWN_BASE || way == EAGER || way == SIGSEGV_ || way == FILES;
	int file = from_file && way != FILES ? region->file : around->memfd;
	int kind = way == MINOR ? MAP_SHARED : MAP_PRIVATE;
	pthread_t thread;

	char *start = mmap(NULL, region->count * PAGE, way == SIGSEGV_ ? PROT_NONE : PROT_READ | PROT_WRITE,
			   kind | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
	if (start == MAP_FAILED)
		return NULL;
	own = (struct server){ .way = way, .region = region, .start = start, .uffd = -1, .memfd = around->memfd };
	if (way == EAGER)
		for (size_t page = 0; page < region->count; page++)
			relocate(region, page, start + page * PAGE);
	if (way == SIGSEGV_ && !handle(SIGSEGV))
		return NULL;
	if (from_file)
		return start;
	own.uffd = faults(way, region, start, around->user_only);
	if (own.uffd < 0)
		return NULL;
	bool ready = has_monitor(way) ? send_to_monitor(around->socket, own.uffd, start) :
		     way == THREAD    ? !(errno = pthread_create(&thread, NULL, serve, &own)) :
					handle(SIGBUS);
	return ready ? start : NULL;
}
