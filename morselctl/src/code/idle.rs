//! Functions that do nothing. Compilers put constructors and destructors into every library that have nothing to do in most of them:
//! an `_init` and a `_fini` which only return, `frame_dummy`, which compares the ends of an empty table, and
//! `__do_global_dtors_aux`, which calls a function of libc's that does nothing, and notes down that it has run. Older ones go through
//! lists of functions, too, which are empty.
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
    /// Whether what was compared is less than what it was compared with, if that is known.
    below: Option<bool>,
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
        let zero = Zero::Unset;
        Self { at: function, returned: false, registers, stack: Vec::new(), zero, below: None }
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
        let is_relative =
            instruction.memory_base() == Register::RIP && instruction.segment_prefix() == Register::None;
        let place = is_relative.then(|| instruction.ip_rel_memory_address());
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
            Mnemonic::Mov if instruction.op1_kind() == OpKind::Immediate32 && operand(0)?.is_gpr32() => {
                self.set(operand(0)?.full_register(), Value::Number(immediate?))?;
            }
            Mnemonic::Mov => match (operand(0), place.or_else(|| self.pointed_to(instruction)), immediate) {
                (Some(to), None, _) => self.set(to, self.get(operand(1)?)?)?,
                (Some(to), Some(place), _) => self.set(to, load(surroundings, place)?)?,
                (None, Some(place), Some(_)) if is_relative && instruction.memory_size().size() == 1 => {
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
                (self.zero, self.below) = (Zero::Unset, None);
            }
            Mnemonic::Sub => {
                let difference = difference(self.get(operand(0)?)?, self.get(operand(1)?)?, followed)?;
                self.set_result(operand(0)?, difference)?;
            }
            Mnemonic::Add => {
                let sum = self.number(operand(0)?)?.wrapping_add(self.number(operand(1)?)?);
                self.set_result(operand(0)?, sum)?;
            }
            Mnemonic::Cqo => {
                let sign = self.number(Register::RAX)? as i64 >> 63;
                self.set(Register::RDX, Value::Number(sign as u64))?;
            }
            Mnemonic::Idiv => {
                let divisor = self.number(operand(0)?)? as i64;
                let number = self.number(Register::RAX)? as i64;
                // What `cqo` has made of it, and nothing that would be trapped.
                (self.number(Register::RDX)? as i64 == number >> 63).then_some(())?;
                let (quotient, rest) = (number.checked_div(divisor)?, number.checked_rem(divisor)?);
                self.set(Register::RAX, Value::Number(quotient as u64))?;
                self.set(Register::RDX, Value::Number(rest as u64))?;
                (self.zero, self.below) = (Zero::Unset, None);
            }
            Mnemonic::Dec => {
                let less = self.number(operand(0)?)?.wrapping_sub(1);
                self.set_result(operand(0)?, less)?;
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
                (self.zero, self.below) = match (operand(0), place) {
                    (Some(one), None) => {
                        let other = match operand(1) {
                            Some(other) => self.get(other)?,
                            None => Value::Number(immediate?),
                        };
                        compare(self.get(one)?, other, followed)?
                    }
                    (None, Some(place)) if immediate == Some(0) => {
                        let size = instruction.memory_size().size() as u64;
                        let fixed = surroundings.fixed(place).filter(|_| size == WORD);
                        if fixed.is_none() {
                            surroundings
                                .are_variable(place, size)
                                .then(|| followed.compared.insert(place))?;
                        }
                        (fixed.and_then(Value::is_zero).map_or(Zero::Either, Zero::Known), None)
                    }
                    _ => return None,
                };
            }
            Mnemonic::Test if operand(0)? == operand(1)? => {
                (self.zero, self.below) = (Zero::Known(self.get(operand(0)?)?.is_zero()?), None);
            }
            Mnemonic::Jae | Mnemonic::Jb => {
                if self.below? == (instruction.mnemonic() == Mnemonic::Jb) {
                    next = target(instruction)?;
                }
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

    /// Where an operand in memory is whose address a register holds, with nothing else but a constant added.
    fn pointed_to(&self, instruction: &Instruction) -> Option<u64> {
        let is_plain = instruction.memory_index() == Register::None
            && instruction.segment_prefix() == Register::None
            && (0..instruction.op_count()).any(|number| instruction.op_kind(number) == OpKind::Memory);
        match self.get(instruction.memory_base()).filter(|_| is_plain)? {
            Value::Address(address) => Some(address.wrapping_add(instruction.memory_displacement64())),
            _ => None,
        }
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
        (self.zero, self.below) = (Zero::Known(result == 0), None);
        self.set(register, Value::Number(result))
    }
}

/// By how much one value is more than another.
fn difference(one: Value, other: Value, followed: &mut Followed) -> Option<u64> {
    let difference = one.minus(other)?;
    if let (Value::Address(table), 0) = (one, difference) {
        followed.empty_tables.insert(table);
    }
    Some(difference)
}

/// Whether one value is another, and whether it is less.
fn compare(one: Value, other: Value, followed: &mut Followed) -> Option<(Zero, Option<bool>)> {
    match (one, other) {
        // Nothing is less than zero.
        (Value::Unknown, Value::Number(0)) => Some((Zero::Either, Some(false))),
        (Value::Number(one), Value::Number(other)) => Some((Zero::Known(one == other), Some(one < other))),
        _ => Some((Zero::Known(difference(one, other, followed)? == 0), None)),
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
mod tests;
