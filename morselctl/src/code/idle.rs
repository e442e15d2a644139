//! Functions that do nothing. Compilers put constructors into every library that have nothing to do in most of them: an `_init` which
//! only returns, and `frame_dummy`, which compares the ends of an empty table.
//!
//! A function is followed instruction by instruction, with what is known of registers. It does nothing if it surely returns, and has
//! read and written no memory but its own stack, and no register that belongs to its caller. Whatever is not one of the few
//! instructions listed here might do something.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use ld_morsel::elf::Vaddr;

/// Longer functions are not followed to their end.
const MOST_INSTRUCTIONS: usize = 64;
/// The longest instruction, in bytes.
pub const LONGEST_INSTRUCTION: u64 = 15;

/// Whether a function does nothing. `code` has the bytes of an instruction at an address, those behind it perhaps included; `None` if
/// that is not code.
pub fn does_nothing<'a>(function: Vaddr, code: impl Fn(Vaddr) -> Option<&'a [u8]>) -> bool {
    let mut state = State::default();
    let mut at = function;
    for _ in 0..MOST_INSTRUCTIONS {
        let Some(bytes) = code(at) else { return false };
        let instruction = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE).decode();
        match state.step(&instruction) {
            Some(Next::At(next)) => at = next,
            Some(Next::Returned) => return true,
            None => return false,
        }
    }
    false
}

/// Where control goes.
enum Next {
    At(Vaddr),
    Returned,
}

/// What is known of a register.
#[derive(Clone, Copy, Default)]
enum Value {
    #[default]
    Unknown,
    Number(u64),
    /// A link-time address of the same library: it is elsewhere in the process, but the distance between two stays.
    Address(u64),
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
}

#[derive(Default)]
struct State {
    registers: [Value; 16],
    stack: Vec<Value>,
    /// The zero flag, if it is known.
    zero: Option<bool>,
}

impl State {
    /// Carries out an instruction; `None` if it might do something.
    fn step(&mut self, instruction: &Instruction) -> Option<Next> {
        let operand = |number| match instruction.op_kind(number) {
            OpKind::Register => Some(instruction.op_register(number)),
            _ => None,
        };
        match instruction.mnemonic() {
            Mnemonic::Endbr64 | Mnemonic::Nop => {}
            Mnemonic::Push => self.stack.push(self.get(operand(0)?)?),
            Mnemonic::Pop => {
                let value = self.stack.pop()?;
                self.set(operand(0)?, value)?;
            }
            Mnemonic::Mov => self.set(operand(0)?, self.get(operand(1)?)?)?,
            Mnemonic::Lea if instruction.is_ip_rel_memory_operand() => {
                self.set(operand(0)?, Value::Address(instruction.ip_rel_memory_address()))?;
            }
            Mnemonic::Sub => {
                let difference = self.get(operand(0)?)?.minus(self.get(operand(1)?)?)?;
                self.set_result(operand(0)?, difference)?;
            }
            Mnemonic::Add => {
                let sum = self.number(operand(0)?)?.wrapping_add(self.number(operand(1)?)?);
                self.set_result(operand(0)?, sum)?;
            }
            Mnemonic::Shr | Mnemonic::Sar if instruction.op1_kind() == OpKind::Immediate8 => {
                // By nothing, flags would stay.
                let by = Some(instruction.immediate8()).filter(|by| (1..64).contains(by))?;
                let number = self.number(operand(0)?)?;
                let is_signed = instruction.mnemonic() == Mnemonic::Sar;
                let shifted = if is_signed { (number as i64 >> by) as u64 } else { number >> by };
                self.set_result(operand(0)?, shifted)?;
            }
            Mnemonic::Cmp => {
                let difference = self.get(operand(0)?)?.minus(self.get(operand(1)?)?)?;
                self.zero = Some(difference == 0);
            }
            Mnemonic::Test => {
                self.zero = Some(self.number(operand(0)?)? & self.number(operand(1)?)? == 0);
            }
            Mnemonic::Je | Mnemonic::Jne => {
                let jumps = self.zero? == (instruction.mnemonic() == Mnemonic::Je);
                let next = if jumps { target(instruction)? } else { instruction.next_ip() };
                return Some(Next::At(Vaddr(next)));
            }
            Mnemonic::Jmp => return Some(Next::At(Vaddr(target(instruction)?))),
            Mnemonic::Ret if instruction.op_count() == 0 && self.stack.is_empty() => {
                return Some(Next::Returned);
            }
            _ => return None,
        }
        Some(Next::At(Vaddr(instruction.next_ip())))
    }

    fn get(&self, register: Register) -> Option<Value> {
        register.is_gpr64().then(|| self.registers[register.number()])
    }

    fn number(&self, register: Register) -> Option<u64> {
        self.get(register)?.number()
    }

    /// Changes a register, unless it is to be preserved for the caller (System V ABI for AMD64, figure 3.4).
    fn set(&mut self, register: Register, value: Value) -> Option<()> {
        use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
        let may_change = [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11].contains(&register);
        may_change.then(|| self.registers[register.number()] = value)
    }

    fn set_result(&mut self, register: Register, result: u64) -> Option<()> {
        self.zero = Some(result == 0);
        self.set(register, Value::Number(result))
    }
}

fn target(instruction: &Instruction) -> Option<u64> {
    (instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does_nothing(code: &[u8]) -> bool {
        super::does_nothing(Vaddr(0x1000), |at| code.get(at.0.checked_sub(0x1000)? as usize..))
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

    #[test]
    fn what_compilers_add_does_nothing() {
        assert!(does_nothing(&[0x50, 0x58, 0xc3])); // push %rax; pop %rax; ret
        assert!(does_nothing(&frame_dummy(0x40, 0x40)));
        assert!(!does_nothing(&frame_dummy(0x40, 0x50)));
    }

    #[test]
    fn what_might_do_something_is_not_taken_for_nothing() {
        for code in [
            &[0xff, 0x05, 0, 0, 0, 0, 0xc3][..],   // incl (%rip)
            &[0xe8, 0, 0, 0, 0, 0xc3],             // call
            &[0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3], // mov (%rip),%rax
            &[0x48, 0x89, 0xc3, 0xc3],             // mov %rax,%rbx
            &[0x50, 0xc3],                         // push %rax; ret
            &[0x58, 0xc3],                         // pop %rax; ret
            &[0x48, 0x85, 0xc0, 0x74, 0x00, 0xc3], // test %rax,%rax; je
            &[0xc2, 0x08, 0x00],                   // ret $8
            &[0xeb, 0xfe],                         // jmp to itself
            &[0x90],                               // nop, and then no code
            &[0x0f, 0x0b],                         // ud2
        ] {
            assert!(!does_nothing(code), "{code:x?}");
        }
    }
}
