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

/* Calls functions in `percent` (a divisor of 100) of the pages, evenly spread; returns in how many. */
long touch(int percent)
{
	long called = 0;
	for (const char *page = pages; page < pages + 4096L * PAGES; page += 4096 * (100 / percent))
		called = ((long (*)(long))page)(called);
	return called;
}
