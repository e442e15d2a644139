//! The source text of synthetic programs: assembly for the libraries, which no compiler needs to think about for long,
//! and C for the program. The same text is linked for musl, for glibc and statically.

use std::fmt::Write;

use super::spec::{SLOTS, Spec, Via};

/// Changes whenever this module does: part of the key under which what it makes is cached.
pub const VERSION: &str = include_str!("source.rs");

/// The program: sets the mark first of all; with an argument it has every library check itself. The clock is read by
/// a plain system call, which costs the same whatever the loader and the libc.
pub fn program(spec: &Spec) -> String {
    let heads: Vec<_> = (0..spec.libraries).step_by(spec.depth).map(check_name).collect();
    let declared: String = heads.iter().map(|name| format!("int {name}(void);\n")).collect();
    let called: String = heads.iter().map(|name| format!("  if ({name}()) return 2;\n")).collect();
    format!(
        "{MARK}{declared}int main(int argc, char **argv) {{\n  mark();\n  if (argc < 2) return 0;\n{called}  return 0;\n}}\n"
    )
}

/// C that sends the mark: the time, written to descriptor 3.
pub const MARK: &str = r#"#include <time.h>
#include <unistd.h>
static void mark(void) {
  struct timespec now;
  long result = 228 /* clock_gettime */;
  __asm__ volatile("syscall" : "+a"(result) : "D"((long)CLOCK_MONOTONIC), "S"(&now) : "rcx", "r11", "memory");
  (void)!write(3, &now, sizeof now);
}
"#;

/// An ELF interpreter that does nothing but send the mark and exit: the kernel's share of a start.
pub const FLOOR: &str = "\
.globl _start
_start:
  mov $228, %eax
  mov $1, %edi
  lea -16(%rsp), %rsi
  syscall
  mov $1, %eax
  mov $3, %edi
  mov $16, %edx
  syscall
  mov $231, %eax
  xor %edi, %edi
  syscall
.section .note.GNU-stack,\"\",@progbits
";

/// The name that a library is linked under.
pub fn library_name(library: usize) -> String {
    format!("lib{library:03}.so")
}

fn check_name(library: usize) -> String {
    format!("lib{library:03}_check")
}

const MACROS: &str = "\
.macro function name, value
  .type \\name, @function
  \\name: mov $\\value, %eax
  ret
  .size \\name, . - \\name
.endm
.macro object name, value
  .globl \\name
  .type \\name, @object
  \\name: .long \\value
  .size \\name, 4
.endm
";

/// The assembly of one library.
pub fn library(spec: &Spec, number: usize) -> String {
    let library = Library { spec, number };
    let mut text = String::from(MACROS);
    let mut check = String::new();
    library.exports(&mut text);
    library.imports(&mut text, &mut check);
    library.thread_locals(&mut text, &mut check);
    library.classes(&mut text, &mut check);
    library.relative(&mut text, &mut check);
    let name = check_name(number);
    let last = number + 1 == spec.libraries || (number + 1).is_multiple_of(spec.depth);
    let rest = match last {
        true => "  xor %eax, %eax\n  pop %rbx\n  ret\n".to_owned(),
        false => format!("  pop %rbx\n  jmp {}@PLT\n", check_name(number + 1)),
    };
    text + &format!(
        ".text\n.globl {name}\n.type {name}, @function\n{name}:\n  push %rbx\n{check}{rest}\
         bad:\n  mov $1, %eax\n  pop %rbx\n  ret\n.size {name}, . - {name}\n\
         .section .note.GNU-stack,\"\",@progbits\n"
    )
}

/// One library of a program. Writing to a String cannot fail, hence the results that are not looked at.
struct Library<'a> {
    spec: &'a Spec,
    number: usize,
}

impl Library<'_> {
    /// What an export of a library is called, and the number that it returns or holds.
    fn export(&self, library: usize, symbol: usize) -> (String, usize) {
        let kind = if symbol < self.spec.functions { "function" } else { "object" };
        let name = format!("lib{library:03}_{kind}_{symbol:04}");
        let padding = self.spec.name_length.saturating_sub(name.len());
        let value = library * (self.spec.functions + self.spec.objects) + symbol;
        // In front, as long names have their common part: what compares them has to read all of it.
        (format!("{}{name}", "n".repeat(padding)), value)
    }

    fn exports(&self, text: &mut String) {
        let _ = writeln!(text, ".text");
        for symbol in 0..self.spec.functions {
            let (name, value) = self.export(self.number, symbol);
            let _ = writeln!(text, ".globl {name}\nfunction {name}, {value}");
        }
        let _ = writeln!(text, ".data\n.balign 4");
        for symbol in self.spec.functions..self.spec.functions + self.spec.objects {
            let (name, value) = self.export(self.number, symbol);
            let _ = writeln!(text, "object {name}, {value}");
        }
    }

    fn imports(&self, text: &mut String, check: &mut String) {
        let Spec { libraries, functions, objects, imports, via, .. } = *self.spec;
        if libraries < 2 || imports == 0 {
            return;
        }
        let (mut calls, mut reads) = (String::new(), String::new());
        for import in 0..imports {
            // Round robin over the other libraries, and over their symbols in strides that are prime to their number.
            let from = (self.number + 1 + import % (libraries - 1)) % libraries;
            let callable = if via == Via::Calls { functions } else { functions + objects };
            let symbol = (import * 37 + self.number * 11) % callable;
            let (name, value) = self.export(from, symbol);
            let _ = match (via, symbol < functions) {
                (Via::Calls, _) => writeln!(check, "  call {name}@PLT\n  cmp ${value}, %eax\n  jne bad"),
                (Via::Pointers, true) => writeln!(calls, "  .quad {name}, {value}"),
                (Via::Pointers, false) => writeln!(reads, "  .quad {name}, {value}"),
            };
        }
        if via == Via::Pointers {
            let _ = writeln!(text, ".data\n.balign 16\ncalls:\n{calls}  .quad 0\nreads:\n{reads}  .quad 0");
            *check += "  lea calls(%rip), %rbx\n\
                       1: mov (%rbx), %rax\n  test %rax, %rax\n  jz 2f\n  call *%rax\n  cmp 8(%rbx), %eax\n  jne bad\n\
                       \x20 add $16, %rbx\n  jmp 1b\n\
                       2: lea reads(%rip), %rbx\n\
                       1: mov (%rbx), %rax\n  test %rax, %rax\n  jz 2f\n  mov (%rax), %eax\n  cmp 8(%rbx), %eax\n\
                       \x20 jne bad\n  add $16, %rbx\n  jmp 1b\n2:\n";
        }
    }

    /// Variables that are used by the general-dynamic model, and one by the initial-exec model.
    fn thread_locals(&self, text: &mut String, check: &mut String) {
        let count = self.spec.thread_locals;
        if count == 0 {
            return;
        }
        let name = |library: usize, variable: usize| format!("lib{library:03}_thread_local_{variable:03}");
        let _ = writeln!(text, ".section .tdata,\"awT\",@progbits\n.balign 8");
        for variable in 0..count {
            let (name, value) = (name(self.number, variable), self.number * count + variable);
            let _ = writeln!(
                text,
                ".globl {name}\n.type {name}, @object\n{name}: .quad {value}\n.size {name}, 8"
            );
        }
        let _ = writeln!(text, ".section .tbss,\"awT\",@nobits\n.zero 256");
        let next = (self.number + 1) % self.spec.libraries;
        for variable in 0..count {
            let (name, value) = (name(next, variable), next * count + variable);
            // This very sequence: linkers rewrite it in static programs.
            let _ = writeln!(
                check,
                "  .byte 0x66\n  lea {name}@tlsgd(%rip), %rdi\n  .value 0x6666\n  rex64\n  call __tls_get_addr@PLT\n\
                 \x20 cmpl ${value}, (%rax)\n  jne bad"
            );
        }
        let (own, value) = (name(self.number, 0), self.number * count);
        let _ = writeln!(check, "  mov {own}@gottpoff(%rip), %rax\n  cmpl ${value}, %fs:(%rax)\n  jne bad");
    }

    fn classes(&self, text: &mut String, check: &mut String) {
        let classes = self.spec.classes;
        if classes == 0 {
            return;
        }
        let base = (self.number + self.spec.libraries - 1) % self.spec.libraries;
        let class =
            |library: usize, class: usize| format!("N7library{library:03}9component8Class{class:03}E");
        let method = |library: usize, of: usize, slot: usize| {
            (
                format!("_ZN7library{library:03}9component8Class{of:03}8method{slot:02}Ev"),
                library * 10_000 + of * 16 + slot,
            )
        };
        let inline = |of: usize, slot: usize| {
            (format!("_ZN6inlined9component8Class{of:03}8method{slot:02}Ev"), of * 16 + slot)
        };
        let cxxabi = "_ZTVN10__cxxabiv120__si_class_type_infoE";
        if self.number == 0 {
            let _ = writeln!(
                text,
                ".data\n.globl {cxxabi}\n.type {cxxabi}, @object\n{cxxabi}: .zero 64\n.size {cxxabi}, 64"
            );
        }
        let mut values = String::new();
        for of in 0..classes {
            let (own, parent) = (class(self.number, of), class(base, of));
            let mut slots = String::new();
            let _ = writeln!(text, ".text");
            for slot in 0..SLOTS {
                let (name, value) = match slot % 3 {
                    0 => method(self.number, of, slot),
                    1 => method(base, of, slot - 1),
                    _ => inline(of, slot),
                };
                let _ = match slot % 3 {
                    0 => writeln!(text, ".globl {name}\nfunction {name}, {value}"),
                    1 => Ok(()),
                    _ => writeln!(text, ".weak {name}\nfunction {name}, {value}"),
                };
                let _ = writeln!(slots, "  .quad {name}");
                let _ = writeln!(values, "  .long {value}");
            }
            let _ = writeln!(
                text,
                ".section .rodata\n.weak _ZTS{own}\n.type _ZTS{own}, @object\n_ZTS{own}: .asciz \"{own}\"\n\
                 .size _ZTS{own}, . - _ZTS{own}\n\
                 .section .data.rel.ro,\"aw\"\n.balign 8\n\
                 .globl _ZTI{own}\n.type _ZTI{own}, @object\n\
                 _ZTI{own}: .quad {cxxabi} + 16, _ZTS{own}, _ZTI{parent}\n.size _ZTI{own}, 24\n\
                 .globl _ZTV{own}\n.type _ZTV{own}, @object\n\
                 _ZTV{own}: .quad 0, _ZTI{own}\n{slots}.size _ZTV{own}, . - _ZTV{own}"
            );
        }
        let _ = writeln!(text, ".section .rodata\n.balign 4\nvalues:\n{values}");
        // All tables lie side by side: three words of type information, two of the table's head, the slots.
        let first = class(self.number, 0);
        let _ = writeln!(
            check,
            "  push %r12\n  push %r13\n  push %r14\n  push %r14\n\
             \x20 mov _ZTI{first}@GOTPCREL(%rip), %rbx\n  lea values(%rip), %r12\n  mov ${classes}, %r13d\n\
             1: add $40, %rbx\n  mov ${SLOTS}, %r14d\n\
             2: call *(%rbx)\n  cmp (%r12), %eax\n  jne 3f\n  add $8, %rbx\n  add $4, %r12\n  dec %r14d\n  jnz 2b\n\
             \x20 dec %r13d\n  jnz 1b\n\
             3: pop %r14\n  pop %r14\n  pop %r13\n  pop %r12\n  jne bad"
        );
    }

    fn relative(&self, text: &mut String, check: &mut String) {
        let count = self.spec.relative;
        if count == 0 {
            return;
        }
        let _ = writeln!(text, ".data\n.balign 8\npointers:\n.rept {count}\n  .quad pointers\n.endr");
        let _ = writeln!(
            check,
            "  lea pointers(%rip), %rax\n  mov %rax, %rbx\n  mov ${count}, %ecx\n\
             1: cmp %rax, (%rbx)\n  jne bad\n  add $8, %rbx\n  dec %ecx\n  jnz 1b"
        );
    }
}
