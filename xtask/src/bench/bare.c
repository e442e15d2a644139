/* The least that an interpreter in a file of its own can do: it is one mapping, maps libc, whose segments are known beforehand, and
   enters it as the kernel would. Nothing is checked, and nobody is told which file libc is. LIBC and the numbers come from
   least.rs. */
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d, long e, long f) {
  register long fourth __asm__("r10") = d, fifth __asm__("r8") = e, sixth __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                   : "rcx", "r11", "memory");
  return result;
}

__asm__(".globl _start\n"
        "_start: mov %rsp, %rdi\n"
        "mov %rsp, %rbx\n"
        "call begin\n"
        "mov %rbx, %rsp\n"
        "xor %edx, %edx\n"
        "jmp *%rax\n");

__attribute__((used)) static long begin(long *stack) {
  long *next = stack + 1 + *stack + 1;
  while (*next++) {}
  long file = call(SYS_open, (long)LIBC, O_RDONLY | O_CLOEXEC, 0, 0, 0, 0);
  long base = call(SYS_mmap, 0, END, PROT_READ, MAP_PRIVATE, file, 0);
  call(SYS_mprotect, base + CODE, CODE_SIZE, PROT_READ | PROT_EXEC, 0, 0, 0);
  call(SYS_mmap, base + DATA, END - DATA, PROT_READ | PROT_WRITE,
       MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  call(SYS_pread64, file, base + DATA, DATA_END - DATA, DATA_OFFSET, 0, 0);
  call(SYS_close, file, 0, 0, 0, 0, 0);
  for (; *next; next += 2)
    if (*next == AT_BASE) next[1] = base;
  return base + ENTRY;
}
