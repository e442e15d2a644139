//! What compilers add to libraries is known to do nothing, and what only looks like it is not.

use super::*;

const CODE: u64 = 0x1000;
/// A word that nobody changes: zero, and one that leads to a function that only returns.
const NOTHING: u64 = 0x2000;
const SLOT: u64 = 0x2008;
/// A word that nobody changes, all of whose bits are set.
const END_OF_LIST: u64 = 0x2010;
const RETURN: u64 = 0x3000;
const VARIABLE: u64 = 0x4000;

struct Test<'a>(&'a [u8]);

impl Surroundings for Test<'_> {
    fn code(&self, at: u64) -> Option<&[u8]> {
        match at {
            RETURN => Some(&[0xc3]),
            _ => self.0.get(at.checked_sub(CODE)? as usize..),
        }
    }

    fn fixed(&self, at: u64) -> Option<Value> {
        match at {
            NOTHING => Some(Value::Number(0)),
            SLOT => Some(Value::Address(RETURN)),
            END_OF_LIST => Some(Value::Number(u64::MAX)),
            _ => None,
        }
    }

    fn are_variable(&self, at: u64, size: u64) -> bool {
        VARIABLE <= at && at + size <= VARIABLE + 0x100
    }
}

fn does_nothing(code: &[u8]) -> bool {
    follow(CODE, &Test(code)).is_some_and(|followed| followed.written.is_empty())
}

/// An instruction at the end of `code` with an operand relative to what follows it.
fn add(code: &mut Vec<u8>, operation: &[u8], target: u64, immediate: &[u8]) {
    let next = CODE + (code.len() + operation.len() + 4 + immediate.len()) as u64;
    code.extend(operation);
    code.extend((target.wrapping_sub(next) as u32).to_le_bytes());
    code.extend(immediate);
}

/// gcc's `frame_dummy` and `register_tm_clones`, whose table begins and ends at these distances from `code`.
fn frame_dummy(start: u8, end: u8) -> Vec<u8> {
    let mut code = vec![0xf3, 0x0f, 0x1e, 0xfa, 0xeb, 0x00]; // endbr64; jmp
    code.extend([0x48, 0x8d, 0x3d, start - 13, 0, 0, 0]); // lea start(%rip),%rdi
    code.extend([0x48, 0x8d, 0x35, end - 20, 0, 0, 0]); // lea end(%rip),%rsi
    code.extend([0x48, 0x29, 0xfe]); // sub %rdi,%rsi
    code.extend([0x48, 0x89, 0xf0]); // mov %rsi,%rax
    code.extend([0x48, 0xc1, 0xee, 0x3f]); // shr $63,%rsi
    code.extend([0x48, 0xc1, 0xf8, 0x03]); // sar $3,%rax
    code.extend([0x48, 0x01, 0xc6]); // add %rax,%rsi
    code.extend([0x48, 0xd1, 0xfe]); // sar %rsi
    code.extend([0x74, 0x02]); // je to the end
    code.extend([0xff, 0xe0]); // jmp *%rax
    code.push(0xc3);
    code
}

/// What older versions have in place of shifting: they divide by two.
fn old_frame_dummy(table: u64, divisor: u32) -> Vec<u8> {
    let mut code = Vec::new();
    add(&mut code, &[0x48, 0x8d, 0x3d], table, &[]); // lea start(%rip),%rdi
    add(&mut code, &[0x48, 0x8d, 0x35], table, &[]); // lea end(%rip),%rsi
    code.push(0xb9); // mov $divisor,%ecx
    code.extend(divisor.to_le_bytes());
    code.extend([0x48, 0x29, 0xfe, 0x48, 0xc1, 0xfe, 0x03]); // sub %rdi,%rsi; sar $3,%rsi
    code.extend([0x48, 0x89, 0xf0, 0x48, 0x99, 0x48, 0xf7, 0xf9]); // mov %rsi,%rax; cqto; idiv %rcx
    code.extend([0x48, 0x85, 0xc0, 0x74, 0x02, 0xff, 0xe0, 0xc3]); // test %rax,%rax; je to the end; jmp *%rax; ret
    code
}

/// gcc's `__do_global_dtors_aux`, with a slot for `__cxa_finalize`, and a variable that it notes down there.
fn destructors(slot: u64, variable: u64) -> Vec<u8> {
    let mut code = vec![0xf3, 0x0f, 0x1e, 0xfa];
    add(&mut code, &[0x80, 0x3d], variable, &[0]); // cmpb $0,variable(%rip)
    code.extend([0x75, 41]); // jne to the last ret
    code.push(0x55); // push %rbp
    add(&mut code, &[0x48, 0x83, 0x3d], slot, &[0]); // cmpq $0,slot(%rip)
    code.extend([0x48, 0x89, 0xe5]); // mov %rsp,%rbp
    code.extend([0x74, 13]); // je behind the call
    add(&mut code, &[0x48, 0x8b, 0x3d], VARIABLE + 8, &[]); // mov handle(%rip),%rdi
    add(&mut code, &[0xff, 0x15], slot, &[]); // call *slot(%rip)
    code.extend([0xe8, 9, 0, 0, 0]); // call of the last ret
    add(&mut code, &[0xc6, 0x05], variable, &[1]); // movb $1,variable(%rip)
    code.extend([0x5d, 0xc3]); // pop %rbp; ret
    code.push(0xc3);
    code
}

#[test]
fn what_compilers_add_does_nothing() {
    assert!(does_nothing(&[0x50, 0x58, 0xc3])); // push %rax; pop %rax; ret
    assert!(does_nothing(&[0x48, 0x83, 0xec, 8, 0x48, 0x83, 0xc4, 8, 0xc3])); // sub and add $8,%rsp; ret
    assert!(does_nothing(&frame_dummy(0x40, 0x40)));
    assert!(!does_nothing(&frame_dummy(0x40, 0x50)));
    assert!(does_nothing(&old_frame_dummy(VARIABLE, 2)));
    assert!(!does_nothing(&old_frame_dummy(VARIABLE, 0)));
    let followed = follow(CODE, &Test(&frame_dummy(0x40, 0x40))).expect("it does nothing");
    assert_eq!(followed.empty_tables.into_iter().collect::<Vec<_>>(), [CODE + 0x40]);
}

#[test]
fn destructors_that_compilers_add_only_note_that_they_have_run() {
    for slot in [NOTHING, SLOT] {
        let followed = follow(CODE, &Test(&destructors(slot, VARIABLE))).expect("it does nothing");
        assert_eq!(followed.written.into_iter().collect::<Vec<_>>(), [VARIABLE]);
    }
    // A slot that may change, and a byte that is not the library's.
    assert!(follow(CODE, &Test(&destructors(VARIABLE + 16, VARIABLE))).is_none());
    assert!(follow(CODE, &Test(&destructors(SLOT, 0x5000))).is_none());
    // One that is written to without being looked at.
    let mut code = Vec::new();
    add(&mut code, &[0xc6, 0x05], VARIABLE, &[1]);
    code.push(0xc3);
    assert!(follow(CODE, &Test(&code)).is_none());
}

/// What older versions of gcc's `__do_global_ctors_aux` do: they call what is in a list, backwards, until there is -1.
fn constructors_in(list: u64) -> Vec<u8> {
    let mut code = vec![0x55, 0x48, 0x89, 0xe5, 0x53]; // push %rbp; mov %rsp,%rbp; push %rbx
    add(&mut code, &[0x48, 0x8d, 0x1d], list, &[]); // lea list(%rip),%rbx
    code.extend([0x52, 0x48, 0x8b, 0x03]); // push %rdx; mov (%rbx),%rax
    code.extend([0x48, 0x83, 0xf8, 0xff, 0x74, 8]); // cmp $-1,%rax; je behind the jump
    code.extend([0xff, 0xd0, 0x48, 0x83, 0xeb, 8, 0xeb, 0xef]); // call *%rax; sub $8,%rbx; jmp to the load
    code.extend([0x58, 0x5b, 0x5d, 0xc3]); // pop %rax; pop %rbx; pop %rbp; ret
    code
}

/// Likewise `__do_global_dtors_aux`, which goes forwards, from where a variable says, to the end of the list.
fn destructors_in(list: u64, end: u64) -> Vec<u8> {
    let mut code = vec![0x41, 0x54, 0x53]; // push %r12; push %rbx
    add(&mut code, &[0x48, 0x8d, 0x05], list, &[]); // lea list(%rip),%rax
    add(&mut code, &[0x48, 0x8d, 0x1d], end, &[]); // lea end(%rip),%rbx
    code.extend([0x48, 0x29, 0xc3, 0x49, 0x89, 0xc4]); // sub %rax,%rbx; mov %rax,%r12
    code.extend([0x48, 0xc1, 0xfb, 0x03, 0x48, 0xff, 0xcb]); // sar $3,%rbx; dec %rbx
    add(&mut code, &[0x48, 0x8b, 0x05], VARIABLE, &[]); // mov variable(%rip),%rax
    code.extend([0x48, 0x39, 0xd8, 0x73, 0x02, 0x0f, 0x0b]); // cmp %rbx,%rax; jae; ud2
    code.extend([0x5b, 0x41, 0x5c, 0xc3]); // pop %rbx; pop %r12; ret
    code
}

#[test]
fn empty_lists_of_functions_are_gone_through() {
    assert!(does_nothing(&constructors_in(END_OF_LIST)));
    // A function, and a list that may change.
    assert!(!does_nothing(&constructors_in(SLOT)));
    assert!(!does_nothing(&constructors_in(VARIABLE)));
    assert!(does_nothing(&destructors_in(SLOT, SLOT + 8)));
    assert!(!does_nothing(&destructors_in(SLOT, SLOT + 16)));
}

#[test]
fn both_ways_are_followed_where_a_variable_decides() {
    let mut code = Vec::new();
    add(&mut code, &[0x80, 0x3d], VARIABLE, &[0]); // cmpb $0,variable(%rip)
    code.extend([0x75, 1, 0xc3]); // jne; ret
    assert!(does_nothing(&[&code[..], &[0xc3]].concat()));
    assert!(!does_nothing(&[&code[..], &[0x0f, 0x0b]].concat()));
}

#[test]
fn what_is_cleared_in_part_is_not_zero() {
    // lea 0(%rip),%rax; xor %eax,%eax or %al,%al; test %rax,%rax; jne to ud2; ret
    let code =
        |xor: u8| [0x48, 0x8d, 0x05, 0, 0, 0, 0, xor, 0xc0, 0x48, 0x85, 0xc0, 0x75, 1, 0xc3, 0x0f, 0x0b];
    assert!(does_nothing(&code(0x31)));
    assert!(!does_nothing(&code(0x30)));
}

#[test]
fn prefixes_and_far_jumps_are_not_overlooked() {
    let jump = |prefix: &[u8], operation: &[u8]| {
        let mut code = Vec::new();
        add(&mut code, &[prefix, operation].concat(), SLOT, &[]);
        does_nothing(&code)
    };
    assert!(jump(&[], &[0xff, 0x25])); // jmp *slot(%rip)
    assert!(!jump(&[0x64], &[0xff, 0x25])); // jmp *%fs:slot(%rip)
    assert!(!jump(&[0x67], &[0xff, 0x25])); // jmp *slot(%eip)
    assert!(!jump(&[], &[0xff, 0x2d])); // ljmp *slot(%rip)
    assert!(!jump(&[0x48], &[0xff, 0x2d])); // rex.w ljmp *slot(%rip)
}

#[test]
fn what_might_do_something_is_not_taken_for_nothing() {
    for code in [
        &[0xff, 0x05, 0, 0, 0, 0, 0xc3][..],   // incl (%rip)
        &[0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3], // mov (%rip),%rax
        &[0x48, 0x89, 0xc3, 0xc3],             // mov %rax,%rbx
        &[0x50, 0xc3],                         // push %rax; ret
        &[0x58, 0xc3],                         // pop %rax; ret
        &[0xe8, 1, 0, 0, 0, 0xc3, 0x58, 0xc3], // call of pop %rax; ret
        &[0x48, 0x85, 0xc0, 0x74, 0x00, 0xc3], // test %rax,%rax; je
        &[0x74, 0x00, 0xc3],                   // je
        &[0xc2, 0x08, 0x00],                   // ret $8
        &[0xeb, 0xfe],                         // jmp to itself
        &[0x90],                               // nop, and then no code
        &[0x0f, 0x0b],                         // ud2
    ] {
        assert!(!does_nothing(code), "{code:x?}");
    }
}

#[test]
fn references_to_a_byte_are_seen() {
    let code = destructors(SLOT, VARIABLE);
    let followed = follow(CODE, &Test(&code)).expect("it does nothing");
    let refers = |code: &[u8]| {
        let range = CODE..CODE + code.len() as u64;
        are_referred_to(VARIABLE..=VARIABLE, &followed, [(range, code)])
    };
    assert!(!refers(&code));
    for (operation, immediate) in [(&[0x8b, 0x05][..], &[][..]), (&[0x81, 0x3d], &[1, 2, 3, 4])] {
        let mut other = code.clone();
        add(&mut other, operation, VARIABLE, immediate);
        assert!(refers(&other), "{operation:x?}");
    }
}
