// A library that is preloaded and tells what every symbolic relocation of the program was bound to, in lines like
//
//   object type symbol -> target
//
// The target is what the slot holds, less the addend: an offset into the object that has it in a segment, or into this
// thread's copy of its thread-local storage. Offsets in libraries are counted in segments of a kind, one after the other, since
// images may have moved these apart: code, read-only data, and what is writable, back from its end, as room is made at its
// beginning. Such lines are the same wherever segments are mapped. They go to a file in the folder $BINDINGS that has the program's name. This library is the
// first to be preloaded and depends on nothing but libc, so that its constructor runs before all others: nobody has changed
// a slot yet.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#pragma GCC visibility push(hidden)

#ifndef R_X86_64_TLSDESC
#define R_X86_64_TLSDESC 36
#endif

struct object {
	const char *name;
	uintptr_t base;
	const Elf64_Phdr *headers;
	size_t header_count, module;
	uintptr_t tls;
	size_t tls_size;
};

static struct object objects[2048];
static size_t object_count;
static const char *program;
static struct object *libc;

static char buffer[1 << 16];
static size_t filled;
static int out = -1;

static void fail(const char *what)
{
	dprintf(2, "bindings: %s: %m\n", what);
	_exit(99);
}

static void flush(void)
{
	for (size_t done = 0; done < filled;) {
		ssize_t n = write(out, buffer + done, filled - done);
		if (n < 0) fail("write");
		done += n;
	}
	filled = 0;
}

static void put(const char *text)
{
	for (; *text; text++) {
		if (filled == sizeof buffer) flush();
		buffer[filled++] = *text;
	}
}

static void put_hex(uint64_t value)
{
	char text[20];
	snprintf(text, sizeof text, "0x%llx", (unsigned long long)value);
	put(text);
}

static const char *basename_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static const Elf64_Dyn *dynamic_section(const struct object *o)
{
	for (size_t i = 0; i < o->header_count; i++)
		if (o->headers[i].p_type == PT_DYNAMIC) return (void *)(o->base + o->headers[i].p_vaddr);
	return 0;
}

static uint64_t dynamic_value(const struct object *o, int64_t tag)
{
	const Elf64_Dyn *d = dynamic_section(o);
	for (; d && d->d_tag; d++) if (d->d_tag == tag) return d->d_un.d_val;
	return 0;
}

static int collect(struct dl_phdr_info *info, size_t size, void *unused)
{
	if (object_count == sizeof objects / sizeof *objects) fail("too many objects");
	if (!object_count) program = basename_of(info->dlpi_name);
	struct object *o = &objects[object_count++];
	*o = (struct object){
		.name = object_count == 1 ? "program" : basename_of(info->dlpi_name),
		.base = info->dlpi_addr, .headers = info->dlpi_phdr, .header_count = info->dlpi_phnum,
		.module = info->dlpi_tls_modid, .tls = (uintptr_t)info->dlpi_tls_data,
	};
	for (size_t i = 0; i < o->header_count; i++)
		if (o->headers[i].p_type == PT_TLS) o->tls_size = o->headers[i].p_memsz;
	return 0;
}

static const Elf64_Phdr *segment(const struct object *o, uintptr_t address)
{
	for (size_t i = 0; i < o->header_count; i++) {
		const Elf64_Phdr *h = &o->headers[i];
		if (h->p_type == PT_LOAD && address - o->base - h->p_vaddr < h->p_memsz) return h;
	}
	return 0;
}

static struct object *owner(uintptr_t address)
{
	static struct object *last = objects;
	if (segment(last, address)) return last;
	for (size_t i = 0; i < object_count; i++)
		if (segment(&objects[i], address)) return last = &objects[i];
	return 0;
}

static void gather(void)
{
	object_count = 0;
	dl_iterate_phdr(collect, 0);
	// Its file has several names. (The program may have an address of its own for a function.)
	libc = owner((uintptr_t)dlsym(RTLD_NEXT, "_exit"));
	if (!libc) fail("no libc");
	libc->name = "libc";
}

static void put_place(const struct object *o, const char *kind, uint64_t offset)
{
	put(o->name);
	put(kind);
	put_hex(offset);
}

static void put_in_segment(const struct object *o, uintptr_t address)
{
	const Elf64_Phdr *its = segment(o, address), *end = o->headers + o->header_count;
	if (o == objects) return put_place(o, "+", address - o->base);
	if (!(its->p_flags & PF_W)) {
		uint64_t before = address - o->base - its->p_vaddr;
		for (const Elf64_Phdr *h = o->headers; h < its; h++)
			if (h->p_type == PT_LOAD && h->p_flags == its->p_flags) before += h->p_memsz;
		return put_place(o, its->p_flags & PF_X ? ".code+" : "+", before);
	}
	uint64_t behind = o->base + its->p_vaddr + its->p_memsz - address;
	for (const Elf64_Phdr *h = its + 1; h < end; h++)
		if (h->p_type == PT_LOAD) behind += h->p_memsz;
	put_place(o, "-", behind);
}

static void put_address(uintptr_t address)
{
	const struct object *o = owner(address);
	Dl_info info;
	if (!address) put("null");
	else if (o && o != libc) put_in_segment(o, address);
	else if (dladdr((void *)address, &info) && owner((uintptr_t)info.dli_fbase) == libc && info.dli_sname) {
		put("libc:");
		put(info.dli_sname);
		put("+");
		put_hex(address - (uintptr_t)info.dli_saddr);
	} else put("elsewhere");
}

// Some blocks exist only once they have been used: it is asked afresh where they are.
static void put_thread_local(uintptr_t address)
{
	gather();
	for (size_t i = 0; i < object_count; i++)
		if (objects[i].tls && address - objects[i].tls < objects[i].tls_size)
			return put_place(&objects[i], ".tls+", address - objects[i].tls);
	put("thread pointer+");
	put_hex(address - (uintptr_t)__builtin_thread_pointer());
}

static void put_module(size_t module)
{
	for (size_t i = 0; module && i < object_count; i++)
		if (objects[i].module == module) {
			put(objects[i].name);
			return put(".tls");
		}
	put("module ");
	put_hex(module);
}

// What has been copied: pointers to objects as such, and whatever else is the same in each run.
static void put_copy(uintptr_t slot, size_t size)
{
	for (uint64_t word; size; slot += sizeof word) {
		size_t part = size < sizeof word ? size : sizeof word;
		word = 0;
		memcpy(&word, (void *)slot, part);
		put(" ");
		if (owner(word)) put_address(word);
		else if (word >> 40 && word >> 47 == 0) put("elsewhere"); // the stack, a mapping
		else put_hex(word);
		size -= part;
	}
}

// The function that a descriptor begins with takes its address in rax, leaves all else alone, and returns an offset from
// the thread pointer. (Hence no red zone.)
static uintptr_t through_descriptor(uintptr_t slot)
{
	uintptr_t value = slot;
	__asm__ volatile("call *(%%rax)" : "+a"(value) : : "memory", "cc");
	return value + (uintptr_t)__builtin_thread_pointer();
}

static void put_relocation(const struct object *o, uint64_t offset, uint64_t info, uint64_t addend)
{
	static const char *const names[] = {
		[R_X86_64_64] = "64", [R_X86_64_PC32] = "PC32", [R_X86_64_COPY] = "COPY", [R_X86_64_GLOB_DAT] = "GLOB_DAT",
		[R_X86_64_JUMP_SLOT] = "JUMP_SLOT", [R_X86_64_DTPMOD64] = "DTPMOD64", [R_X86_64_DTPOFF64] = "DTPOFF64",
		[R_X86_64_TPOFF64] = "TPOFF64", [R_X86_64_TLSDESC] = "TLSDESC",
	};
	uint32_t type = ELF64_R_TYPE(info), index = ELF64_R_SYM(info);
	if (type >= sizeof names / sizeof *names || !names[type]) return;
	const Elf64_Sym *symbol = (Elf64_Sym *)(o->base + dynamic_value(o, DT_SYMTAB)) + index;
	const char *name = (char *)o->base + dynamic_value(o, DT_STRTAB) + symbol->st_name;
	uintptr_t slot = o->base + offset;
	uint64_t value;
	memcpy(&value, (void *)slot, sizeof value);
	put(o->name);
	put(" ");
	put(names[type]);
	put(" ");
	put(*name ? name : "-");
	put(" -> ");
	switch (type) {
	case R_X86_64_COPY: put_copy(slot, symbol->st_size); break;
	case R_X86_64_PC32: put_address((int32_t)value + slot - addend); break;
	case R_X86_64_DTPMOD64: put_module(value); break;
	case R_X86_64_DTPOFF64: put_hex(value - addend); break;
	case R_X86_64_TPOFF64: put_thread_local(value - addend + (uintptr_t)__builtin_thread_pointer()); break;
	case R_X86_64_TLSDESC: put_thread_local(through_descriptor(slot) - addend); break;
	// (A weak reference to nothing, too, gets its addend.)
	default: put_address(value - addend);
	}
	put("\n");
}

static void put_table(const struct object *o, int64_t tag, int64_t size_tag, int has_addends)
{
	const uint64_t *entry = (void *)(o->base + dynamic_value(o, tag));
	size_t words = has_addends ? 3 : 2;
	for (uint64_t size = dynamic_value(o, size_tag); size >= 8 * words; size -= 8 * words, entry += words)
		put_relocation(o, entry[0], entry[1], has_addends ? entry[2] : 0);
}

__attribute__((constructor)) static void dump(void)
{
	const char *folder = getenv("BINDINGS");
	if (!folder) return;
	gather();
	char name[4096], unfinished[4096];
	snprintf(name, sizeof name, "%s/%s", folder, program);
	// Several processes of one program say the same; the last one wins.
	snprintf(unfinished, sizeof unfinished, "%s/.%d", folder, (int)getpid());
	out = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (out < 0) fail(unfinished);
	for (size_t i = 0; i < object_count; i++) {
		put_table(&objects[i], DT_JMPREL, DT_PLTRELSZ, dynamic_value(&objects[i], DT_PLTREL) == DT_RELA);
		put_table(&objects[i], DT_REL, DT_RELSZ, 0);
		put_table(&objects[i], DT_RELA, DT_RELASZ, 1);
	}
	flush();
	if (rename(unfinished, name)) fail(name);
	close(out);
}
