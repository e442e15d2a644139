//! Generates programs of many libraries that define each other's names, most of them several times, and refer to them in
//! every way that makes a symbolic relocation. What each library does is decided by hash values, so that a grid is the
//! same at each run.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::elf_edit;

/// What is special about a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trait {
    /// Nothing.
    Plain,
    /// `DT_HASH` alone in some libraries, and both tables in others.
    HashStyles,
    /// Functions of old versions, which are hidden, alone or beside the default ones.
    Versions,
    /// Names that have one hash value, or values that differ only in the lowest bit.
    Collisions,
    /// A program that is not position-independent: copies of variables, and addresses of functions of its own.
    Copies,
    /// Symbols that no loader may take: without a value, local, of other types and bindings; and references with a value.
    Unacceptable,
    /// Templates of C++: weak definitions, tables of virtual functions, unique variables.
    Templates,
}

impl Trait {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::HashStyles,
        Self::Versions,
        Self::Collisions,
        Self::Copies,
        Self::Unacceptable,
        Self::Templates,
    ];
}

/// A program with its libraries. The last library defines all names, so that nothing is missing.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Grid {
    /// What is special about it.
    pub what: Trait,
    /// How many libraries.
    pub libraries: usize,
    /// How many names they define in all.
    pub names: usize,
}

/// How many libraries there are that the program does not need, see [`Grid::others`].
const OTHERS: usize = 3;

/// Old functions whose names have lost their `64` in musl.
const LARGE_FILE_NAMES: [&str; 5] = ["fopen64", "lseek64", "mmap64", "readdir64", "posix_fadvise64"];

/// An allocator that frees nothing, and gives libc's own nothing to do.
const ALLOCATOR: &str = r"
static char memory[1 << 24] __attribute__((aligned(64)));
static __SIZE_TYPE__ used;
void *aligned_alloc(__SIZE_TYPE__ align, __SIZE_TYPE__ size) {
    used = (used + align + 15) & -(align < 16 ? 16 : align);
    __SIZE_TYPE__ start = used;
    used += size;
    return memory + start;
}
void *malloc(__SIZE_TYPE__ size) { return aligned_alloc(16, size); }
void *calloc(__SIZE_TYPE__ count, __SIZE_TYPE__ size) { return malloc(count * size); }
void *realloc(void *old, __SIZE_TYPE__ size) {
    char *new = malloc(size);
    for (__SIZE_TYPE__ i = 0; old && i < size; i++) new[i] = ((char *)old)[i];
    return new;
}
void free(void *block) { (void)block; }
";

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    WeakFunction,
    Variable,
    ThreadLocal,
}

impl Kind {
    fn of(name: usize) -> Self {
        match name % 8 {
            0..=3 => Self::Function,
            4 => Self::WeakFunction,
            7 => Self::ThreadLocal,
            _ => Self::Variable,
        }
    }

    fn declaration(self, name: &str) -> String {
        match self {
            Self::Function | Self::WeakFunction => format!("extern int {name}(void);\n"),
            Self::Variable => format!("extern int {name};\n"),
            Self::ThreadLocal => format!("extern _Thread_local int {name};\n"),
        }
    }

    fn definition(self, name: &str, value: usize) -> String {
        match self {
            Self::Function => format!("int {name}(void) {{ return {value}; }}\n"),
            Self::WeakFunction => format!("__attribute__((weak)) int {name}(void) {{ return {value}; }}\n"),
            Self::Variable => format!("int {name} = {value};\n"),
            Self::ThreadLocal => format!("_Thread_local int {name} = {value};\n"),
        }
    }

    fn is_function(self) -> bool {
        matches!(self, Self::Function | Self::WeakFunction)
    }
}

impl Grid {
    /// A hash value of some facts.
    fn roll(&self, facts: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self, facts).hash(&mut hasher);
        hasher.finish()
    }

    fn name(&self, name: usize) -> String {
        if self.what != Trait::Collisions {
            return format!("name_{name}");
        }
        // "ab" and "bA" have one hash value, and so have all strings made of them; a last digit changes the lowest bits.
        let pairs: String = (0..3).map(|bit| if name >> bit & 1 == 0 { "ab" } else { "bA" }).collect();
        format!("{pairs}{}", name >> 3)
    }

    fn defines(&self, library: usize, name: usize) -> bool {
        library + 1 == self.libraries || self.roll((library, name, "defines")).is_multiple_of(3)
    }

    fn refers(&self, library: usize, name: usize) -> bool {
        let copies = self.what == Trait::Copies && library == self.libraries;
        copies || self.roll((library, name, "refers")).is_multiple_of(2)
    }

    /// The numbers of libraries that the program does not need, to be preloaded: they define names of the others, too. The first
    /// needs the last, and a library of the program.
    pub fn others(&self) -> Range<usize> {
        self.libraries + 1..self.libraries + 1 + OTHERS
    }

    /// The numbers of all libraries.
    fn all(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.libraries).chain(self.others())
    }

    fn source(&self, library: usize) -> String {
        if self.what == Trait::Templates {
            return self.templates(library);
        }
        let mut text = match self.others().position(|other| other == library) {
            Some(other) => self.other(other),
            None => String::new(),
        };
        for name in 0..self.names {
            let (kind, symbol) = (Kind::of(name), self.name(name));
            text += &kind.declaration(&symbol);
            if !self.defines(library, name) {
                continue;
            }
            let value = 1000 * (library + 1) + name;
            let versions = match self.what {
                Trait::Versions if kind.is_function() && library + 1 < self.libraries => {
                    self.roll((library, name, "versions")) % 3
                }
                _ => 0,
            };
            if versions < 2 {
                text += &kind.definition(&symbol, value);
            }
            if versions > 0 {
                text += &Kind::Function.definition(&format!("old_{name}"), value);
                text += &format!("__asm__(\".symver old_{name}, {symbol}@OLD\");\n");
            }
        }
        text + &self.uses(library)
    }

    /// What refers to names: pointers in data, calls, and reads of variables.
    fn uses(&self, library: usize) -> String {
        let (mut pointers, mut sum, mut declarations) = (String::new(), String::new(), String::new());
        for name in (0..self.names).filter(|&name| self.refers(library, name)) {
            let (kind, symbol) = (Kind::of(name), self.name(name));
            if kind != Kind::ThreadLocal {
                pointers += &format!("(char *)&{symbol} + {}, ", name % 3);
            }
            sum += &format!(" + {symbol}{}", if kind.is_function() { "()" } else { "" });
        }
        for name in LARGE_FILE_NAMES {
            declarations += &format!("extern int {name}();\n");
            pointers += &format!("(char *)&{name}, ");
        }
        declarations += &format!("extern int absent_{library} __attribute__((weak));\n");
        pointers += &format!("(char *)&absent_{library}");
        format!(
            "{declarations}char *pointers_{library}[] = {{ {pointers} }};\nint use_{library}(void) {{ return 0{sum}; }}\n"
        )
    }

    /// What a library defines only if the program does not need it: variables that are missed, libc's functions and large-file
    /// names.
    fn other(&self, other: usize) -> String {
        let missed = (0..=self.libraries).filter(|library| library % OTHERS == other);
        let missed: String = missed.map(|library| format!("int absent_{library} = {library};\n")).collect();
        let name = LARGE_FILE_NAMES[other];
        let allocator = if other == 1 { ALLOCATOR } else { "" };
        format!("{missed}int {name}(void) {{ return 0; }}\n{allocator}")
    }

    fn templates(&self, library: usize) -> String {
        let mut text =
            "template<int N> struct Node { virtual int value(); virtual int other(); static int count; };\n\
                        template<int N> int Node<N>::value() { return count + N; }\n\
                        template<int N> int Node<N>::other() { return count - N; }\n\
                        template<int N> int Node<N>::count = N;\n"
                .to_owned();
        for name in 0..self.names {
            let defines = self.defines(library, name);
            text += &format!("{}template struct Node<{name}>;\n", if defines { "" } else { "extern " });
            if self.refers(library, name) {
                text += &format!(
                    "int use_{library}_{name}() {{ static Node<{name}> node; Node<{name}> *volatile p = &node;\n\
                     return p->other() + node.value() + Node<{name}>::count; }}\n"
                );
            }
        }
        text
    }

    fn library_flags(&self, library: usize) -> String {
        let style = match (self.what, library % 4) {
            (Trait::HashStyles, 1) => "sysv",
            (Trait::HashStyles, 3) => "both",
            _ => "gnu",
        };
        let plt = if library.is_multiple_of(2) { "-fno-plt" } else { "-fplt" };
        let tls =
            ["-ftls-model=global-dynamic", "-mtls-dialect=gnu2", "-ftls-model=initial-exec"][library % 3];
        let script = if self.what == Trait::Versions { "-Wl,--version-script=versions" } else { "" };
        format!("{plt} {tls} -Wl,--hash-style={style} {script}")
    }

    /// Damage to some of a library's symbols.
    fn edits(&self, library: usize) -> Vec<String> {
        const ANY: [&str; 7] = [
            "st_value = 0",
            "st_info = 0x02", // local
            "st_info = 0x13", // a section
            "st_info = 0x1a", // an indirect function
            "st_info = 0xd2", // an unknown binding
            "st_info = 0x14", // a file
            "st_shndx = 0",   // a reference, which has a value
        ];
        let spoilt = |&name: &usize| {
            let roll = self.roll((library, name, "spoilt"));
            self.defines(library, name) && roll.is_multiple_of(2)
        };
        let edit = |name| {
            let roll = self.roll((library, name, "edit")) as usize;
            let edit = if Kind::of(name) == Kind::ThreadLocal { ANY[6] } else { ANY[roll % ANY.len()] };
            format!("sym[{}].{edit}", self.name(name))
        };
        if self.what != Trait::Unacceptable || library + 1 == self.libraries {
            return Vec::new();
        }
        (0..self.names).filter(spoilt).map(edit).collect()
    }

    /// Builds the program `prog`, whose interpreter is `interpreter`, in a folder of its own below `root`, unless it is there;
    /// returns the folder.
    ///
    /// # Errors
    /// What cannot be written, or the compiler's.
    pub fn build(&self, root: &Path, interpreter: &Path) -> Result<PathBuf> {
        let dir = root.join(format!("{:?}", self.what).to_lowercase());
        let suffix = if self.what == Trait::Templates { "cc" } else { "c" };
        let mut sources: Vec<(String, String)> =
            self.all().map(|library| (format!("{library}.{suffix}"), self.source(library))).collect();
        sources.push(("main.c".to_owned(), self.program()));
        sources.push(("versions".to_owned(), "OLD { }; NEW { };\n".to_owned()));
        let script = self.script(interpreter);
        let edits: Vec<(usize, Vec<String>)> =
            self.all().map(|library| (library, self.edits(library))).collect();

        let mut hasher = DefaultHasher::new();
        (&sources, &script, &edits).hash(&mut hasher);
        let stamp = format!("{:016x}\n", hasher.finish());
        let stamp_path = dir.join("stamp");
        if fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp) {
            return Ok(dir);
        }
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        for (name, text) in &sources {
            fs::write(dir.join(name), text).with_context(|| dir.join(name).display().to_string())?;
        }
        sh(&script, &dir)?;
        for (library, edits) in &edits {
            for edit in edits {
                elf_edit::apply_to_file(&dir.join(format!("lib{library}.so")), &edit.parse()?)?;
            }
        }
        fs::write(&stamp_path, stamp).with_context(|| stamp_path.display().to_string())?;
        Ok(dir)
    }

    /// The commands that build libraries and program.
    fn script(&self, interpreter: &Path) -> String {
        // musl-gcc has no C++ of its own; nothing here needs a library of it.
        let (compiler, suffix) = match self.what {
            Trait::Templates => ("g++ -fno-rtti -fno-exceptions -fno-threadsafe-statics -nostdlib", "cc"),
            _ => ("musl-gcc -fno-builtin -w", "c"),
        };
        let mut script = String::new();
        let others = self.others();
        for library in (0..self.libraries).chain(others.clone().rev()) {
            let mut flags = self.library_flags(library);
            if library == others.start {
                flags += &format!(" -Wl,--no-as-needed -L. -l:lib{}.so -l:lib3.so", others.end - 1);
                flags += " -Wl,-rpath,'$ORIGIN'";
            }
            script +=
                &format!("{compiler} -shared -fPIC -O1 -o lib{library}.so {library}.{suffix} {flags}\n");
        }
        let pic = if self.what == Trait::Copies { "-no-pie -fno-pie" } else { "-pie -fpie" };
        let libraries: String = (0..self.libraries).map(|library| format!(" -l:lib{library}.so")).collect();
        script += &format!(
            "musl-gcc -fno-builtin -w -O1 {pic} -o prog main.c -Wl,--no-as-needed -L. {libraries} -Wl,-rpath,'$ORIGIN' \
             -Wl,--allow-shlib-undefined -Wl,--dynamic-linker='{}'\n",
            interpreter.display()
        );
        script
    }

    fn program(&self) -> String {
        if self.what == Trait::Templates {
            return "int main(void) { return 0; }\n".to_owned();
        }
        let declare = |name| Kind::of(name).declaration(&self.name(name));
        let declarations: String = (0..self.names).map(declare).collect();
        format!("{declarations}{}int main(void) {{ return 0; }}\n", self.uses(self.libraries))
    }
}

fn sh(script: &str, dir: &Path) -> Result<()> {
    let mut command = Command::new("sh");
    let output = command.args(["-ec", script]).current_dir(dir).output().context("cannot run sh")?;
    if !output.status.success() {
        bail!("cannot build {}:\n{}", dir.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
