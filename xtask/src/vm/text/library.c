/* A library with PAGES pages of code, each of which holds one function. */
#define TEXT(words) TEXT_OF(words)
#define TEXT_OF(words) #words

__asm__(".text\n"
	".balign 4096\n"
	"pages:\n"
	".rept " TEXT(PAGES) "\n"
	"lea 1(%rdi), %rax\n"
	"ret\n"
	".balign 4096, 0xcc\n"
	".endr\n");

extern const char pages[] __attribute__((visibility("hidden")));

/* Calls functions in `percent` of the pages, evenly spread; returns in how many. */
long touch(int percent)
{
	long called = 0;
	for (long page = 0; page < PAGES; page++)
		if ((page + 1) * percent / 100 > page * percent / 100)
			called = ((long (*)(long))(pages + 4096 * page))(called);
	return called;
}
