/* Only for musl by a compiler that was built for glibc 2.35 or later (Debian's musl-gcc): its unwinder asks for an
 * object's unwind table by a function that musl does not have. */
#define _GNU_SOURCE
#include <link.h>

struct dl_find_object {
	unsigned long long flags;
	void *map_start, *map_end;
	struct link_map *link_map;
	void *eh_frame;
	unsigned long long reserved[7];
};

struct query {
	unsigned long pc;
	struct dl_find_object *result;
};

static int look(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct query *query = argument;
	void *table = 0;
	int inside = 0;
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		unsigned long start = info->dlpi_addr + header->p_vaddr;
		if (header->p_type == PT_LOAD)
			inside |= query->pc - start < header->p_memsz;
		if (header->p_type == PT_GNU_EH_FRAME)
			table = (void *)start;
	}
	query->result->eh_frame = table;
	return inside && table;
}

__attribute__((visibility("hidden"))) int _dl_find_object(void *pc, struct dl_find_object *result)
{
	struct query query = { (unsigned long)pc, result };
	return dl_iterate_phdr(look, &query) ? 0 : -1;
}
