//! Functions that do nothing. Compilers put constructors and destructors into every library that have nothing to do in most of them:
//! an `_init` and a `_fini` which only return, `frame_dummy`, which compares the ends of an empty table, and
//! `__do_global_dtors_aux`, which calls a function of libc's that does nothing, and notes down that it has run.
//!
//! A function is followed instruction by instruction, through what it calls, with what is known of registers. It does nothing if it
//! surely returns whichever way it takes, leaves its caller's registers as they were, and has written to no memory but its own
//! stack and single bytes of its library that it has compared with zero before, which [`Followed`] names. Whatever is not one of the
//! few instructions listed here might do something.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// Longer functions, with all that they call, are not followed to their end.
const MOST_INSTRUCTIONS: usize = 256;
/// The longest instruction, in bytes.
pub const LONGEST_INSTRUCTION: u64 = 15;
/// What a word of the stack takes, in bytes.
const WORD: u64 = size_of::<u64>() as u64;
/// More bytes are not taken from the stack at once by what does nothing.
const MOST_STACK: u64 = 256;

/// Where a function is.
pub trait Surroundings {
    /// The bytes of an instruction at an address, those behind it perhaps included; `None` if that is not code.
    fn code(&self, at: u64) -> Option<&[u8]>;

    /// The word at an address, if nobody changes it while the process runs.
    fn fixed(&self, at: u64) -> Option<Value>;

    /// Whether so many bytes at an address are variables of the function's library.
    fn are_variable(&self, at: u64, size: u64) -> bool;
}

/// A function that does nothing.
#[derive(Debug, Default)]
pub struct Followed {
    /// Its instructions, and those of what it calls.
    pub instructions: BTreeSet<(u64, u64)>,
    /// The bytes that it writes to.
    pub written: BTreeSet<u64>,
    /// Where tables lie that it finds to end where they begin.
    pub empty_tables: BTreeSet<u64>,
    /// The variables that it compares with zero.
    compared: BTreeSet<u64>,
}

impl Followed {
    /// Whether one of the instructions has a byte at `at`.
    pub fn covers(&self, at: u64) -> bool {
        let last = self.instructions.range(..(at + 1, 0)).next_back();
        last.is_some_and(|&(start, end)| (start..end).contains(&at))
    }

    /// All of another's, too.
    pub fn add(&mut self, other: &Self) {
        self.instructions.extend(&other.instructions);
        self.written.extend(&other.written);
        self.empty_tables.extend(&other.empty_tables);
        self.compared.extend(&other.compared);
    }
}

/// Follows a function; `None` if it might do something.
pub fn follow(function: u64, surroundings: &impl Surroundings) -> Option<Followed> {
    let mut followed = Followed::default();
    let mut open = vec![State::at(function)];
    let mut left = MOST_INSTRUCTIONS;
    while let Some(mut state) = open.pop() {
        while !state.returned {
            left = left.checked_sub(1)?;
            let bytes = surroundings.code(state.at)?;
            let instruction = Decoder::with_ip(64, bytes, state.at, DecoderOptions::NONE).decode();
            followed.instructions.insert((instruction.ip(), instruction.next_ip()));
            let other = state.step(&instruction, surroundings, &mut followed)?;
            open.extend(other);
        }
    }
    Some(followed)
}

/// What is known of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    #[default]
    Unknown,
    /// It is this number.
    Number(u64),
    /// It is this address, wherever that is in a process: the distance between two stays, and none is zero.
    Address(u64),
    /// It is what the caller had in a register that belongs to it.
    Callers(Register),
    /// It is where to return to from a call.
    Return(u64),
}

impl Value {
    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    fn minus(self, other: Self) -> Option<u64> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) | (Self::Address(a), Self::Address(b)) => {
                Some(a.wrapping_sub(b))
            }
            _ => None,
        }
    }

    fn is_zero(self) -> Option<bool> {
        match self {
            Self::Number(number) => Some(number == 0),
            Self::Address(_) => Some(false),
            _ => None,
        }
    }
}

/// What is known of the zero flag.
#[derive(Clone, Copy)]
enum Zero {
    /// Nothing has been compared.
    Unset,
    Known(bool),
    /// A variable has been compared.
    Either,
}

/// How far one way through a function has come.
#[derive(Clone)]
struct State {
    at: u64,
    returned: bool,
    registers: [Value; 16],
    stack: Vec<Value>,
    zero: Zero,
}

/// The registers that belong to the caller (System V ABI for AMD64, figure 3.4), but for the stack pointer.
const CALLERS: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

impl State {
    fn at(function: u64) -> Self {
        let mut registers = [Value::Unknown; 16];
        for register in CALLERS {
            registers[register.number()] = Value::Callers(register);
        }
        Self { at: function, returned: false, registers, stack: Vec::new(), zero: Zero::Unset }
    }

    /// Carries out an instruction; `None` if it might do something. If there are two ways to go on, the other is returned.
    fn step(
        &mut self,
        instruction: &Instruction,
        surroundings: &impl Surroundings,
        followed: &mut Followed,
    ) -> Option<Option<Self>> {
        let operand = |number| match instruction.op_kind(number) {
            OpKind::Register => Some(instruction.op_register(number)),
            _ => None,
        };
        // With a prefix, it would be relative to a segment, or be cut off.
        let is_plain =
            instruction.memory_base() == Register::RIP && instruction.segment_prefix() == Register::None;
        let place = is_plain.then(|| instruction.ip_rel_memory_address());
        let immediate = immediate(instruction);
        let mut next = instruction.next_ip();
        let mut other = None;
        match instruction.mnemonic() {
            Mnemonic::Endbr64 | Mnemonic::Nop => {}
            Mnemonic::Push => self.stack.push(self.get(operand(0)?)?),
            Mnemonic::Pop => {
                let value = self.pop()?;
                self.set(operand(0)?, value)?;
            }
            Mnemonic::Mov => match (operand(0), place, immediate) {
                (Some(to), None, _) => self.set(to, self.get(operand(1)?)?)?,
                (Some(to), Some(place), _) => self.set(to, load(surroundings, place)?)?,
                (None, Some(place), Some(_)) if instruction.memory_size().size() == 1 => {
                    followed.compared.contains(&place).then(|| followed.written.insert(place))?;
                }
                _ => return None,
            },
            Mnemonic::Lea => {
                self.set(operand(0)?, Value::Address(place?))?;
            }
            Mnemonic::Xor if operand(0)? == operand(1)? => {
                // The upper half becomes zero, too, but of what is shorter the rest stays.
                let register = operand(0).filter(|register| register.is_gpr32() || register.is_gpr64())?;
                self.set_result(register.full_register(), 0)?;
            }
            Mnemonic::Sub | Mnemonic::Add if operand(0)? == Register::RSP => {
                let bytes = immediate.filter(|bytes| bytes.is_multiple_of(WORD) && *bytes <= MOST_STACK)?;
                for _ in 0..bytes / WORD {
                    match instruction.mnemonic() {
                        Mnemonic::Sub => self.stack.push(Value::Unknown),
                        _ => drop(self.pop()?),
                    }
                }
                self.zero = Zero::Unset;
            }
            Mnemonic::Sub => {
                let difference = self.difference(operand(0)?, operand(1)?, followed)?;
                self.set_result(operand(0)?, difference)?;
            }
            Mnemonic::Add => {
                let sum = self.number(operand(0)?)?.wrapping_add(self.number(operand(1)?)?);
                self.set_result(operand(0)?, sum)?;
            }
            Mnemonic::Shr | Mnemonic::Sar if instruction.op1_kind() == OpKind::Immediate8 => {
                // By nothing, flags would stay.
                let by = immediate.filter(|by| (1..64).contains(by))?;
                let number = self.number(operand(0)?)?;
                let is_signed = instruction.mnemonic() == Mnemonic::Sar;
                let shifted = if is_signed { (number as i64 >> by) as u64 } else { number >> by };
                self.set_result(operand(0)?, shifted)?;
            }
            Mnemonic::Cmp => {
                self.zero = match (operand(0), place) {
                    (Some(one), None) => Zero::Known(self.difference(one, operand(1)?, followed)? == 0),
                    (None, Some(place)) if immediate == Some(0) => {
                        let size = instruction.memory_size().size() as u64;
                        let fixed = surroundings.fixed(place).filter(|_| size == WORD);
                        if fixed.is_none() {
                            surroundings
                                .are_variable(place, size)
                                .then(|| followed.compared.insert(place))?;
                        }
                        fixed.and_then(Value::is_zero).map_or(Zero::Either, Zero::Known)
                    }
                    _ => return None,
                };
            }
            Mnemonic::Test if operand(0)? == operand(1)? => {
                self.zero = Zero::Known(self.get(operand(0)?)?.is_zero()?);
            }
            Mnemonic::Je | Mnemonic::Jne => {
                let target = target(instruction)?;
                let jumps_if = instruction.mnemonic() == Mnemonic::Je;
                match self.zero {
                    Zero::Unset => return None,
                    Zero::Known(zero) if zero == jumps_if => next = target,
                    Zero::Known(_) => {}
                    Zero::Either => other = Some(Self { at: target, ..self.clone() }),
                }
            }
            Mnemonic::Jmp => next = self.destination(instruction, place, surroundings)?,
            Mnemonic::Call => {
                let destination = self.destination(instruction, place, surroundings)?;
                self.stack.push(Value::Return(next));
                next = destination;
            }
            Mnemonic::Ret if instruction.op_count() == 0 => match self.stack.pop() {
                Some(Value::Return(to)) => next = to,
                Some(_) => return None,
                None => {
                    let is_kept =
                        |register: Register| self.registers[register.number()] == Value::Callers(register);
                    self.returned = CALLERS.into_iter().all(is_kept).then_some(true)?;
                }
            },
            _ => return None,
        }
        self.at = next;
        Some(other)
    }

    /// Where a jump or call leads.
    fn destination(
        &self,
        instruction: &Instruction,
        place: Option<u64>,
        surroundings: &impl Surroundings,
    ) -> Option<u64> {
        let Some(place) = place else { return target(instruction) };
        // Far ones are longer.
        if instruction.memory_size().size() as u64 != WORD {
            return None;
        }
        match surroundings.fixed(place)? {
            Value::Address(address) => Some(address),
            _ => None,
        }
    }

    /// Takes a word from the stack; not where to return to.
    fn pop(&mut self) -> Option<Value> {
        self.stack.pop().filter(|value| !matches!(value, Value::Return(_)))
    }

    fn get(&self, register: Register) -> Option<Value> {
        register.is_gpr64().then(|| self.registers[register.number()])
    }

    /// By how much one register is more than another.
    fn difference(&self, one: Register, other: Register, followed: &mut Followed) -> Option<u64> {
        let one = self.get(one)?;
        let difference = one.minus(self.get(other)?)?;
        if let (Value::Address(table), 0) = (one, difference) {
            followed.empty_tables.insert(table);
        }
        Some(difference)
    }

    fn number(&self, register: Register) -> Option<u64> {
        self.get(register)?.number()
    }

    /// Changes a register. The stack pointer changes by what is on the stack only.
    fn set(&mut self, register: Register, value: Value) -> Option<()> {
        let may_change = register.is_gpr64() && register != Register::RSP;
        may_change.then(|| self.registers[register.number()] = value)
    }

    fn set_result(&mut self, register: Register, result: u64) -> Option<()> {
        self.zero = Zero::Known(result == 0);
        self.set(register, Value::Number(result))
    }
}

/// The word at an address; what variables hold is not known.
fn load(surroundings: &impl Surroundings, place: u64) -> Option<Value> {
    let variable = || surroundings.are_variable(place, WORD).then_some(Value::Unknown);
    surroundings.fixed(place).or_else(variable)
}

fn target(instruction: &Instruction) -> Option<u64> {
    (instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target())
}

/// The constant that is the last operand.
fn immediate(instruction: &Instruction) -> Option<u64> {
    let last = instruction.op_count().checked_sub(1)?;
    instruction.try_immediate(last).ok()
}

/// Whether code refers to some bytes, but for these instructions: anything in it that could be the distance in an operand. `code` is what
/// is at some addresses.
pub fn are_referred_to<'a>(
    some: RangeInclusive<u64>,
    by: &Followed,
    code: impl IntoIterator<Item = (Range<u64>, &'a [u8])>,
) -> bool {
    /// Bytes of an instruction that may follow a distance.
    const BEHIND: [u64; 4] = [0, 1, 2, 4];
    let nearest = some.start().wrapping_sub(BEHIND[BEHIND.len() - 1]);
    let farthest = some.end().wrapping_sub(nearest);
    code.into_iter().any(|(range, bytes)| {
        bytes.windows(4).zip(range.start..).any(|(window, at)| {
            let distance = i32::from_le_bytes([window[0], window[1], window[2], window[3]]);
            let target = (at + 4).wrapping_add_signed(distance.into());
            // Nearly all lead elsewhere by far.
            target.wrapping_sub(nearest) <= farthest
                && BEHIND.iter().any(|behind| some.contains(&target.wrapping_add(*behind)))
                && !by.covers(at)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: u64 = 0x1000;
    /// A word that nobody changes: zero, and one that leads to a function that only returns.
    const NOTHING: u64 = 0x2000;
    const SLOT: u64 = 0x2008;
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
}
