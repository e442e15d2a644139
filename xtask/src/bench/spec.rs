//! What synthetic programs consist of, as numbers: libraries, exports, imports and the like. `source` turns a `Spec`
//! into assembly. Every library is sound: its check function uses all that the loader bound and compares the results.

/// How a library refers to what it imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Data that holds the address: bound at the start, used or not.
    Pointers,
    /// Calls through the procedure linkage table, which a lazy loader binds only when they are made.
    Calls,
}

/// A synthetic program. All counts but the first are for each library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// How many libraries there are.
    pub libraries: usize,
    /// Exported functions.
    pub functions: usize,
    /// Exported variables.
    pub objects: usize,
    /// Symbols imported from the other libraries, evenly.
    pub imports: usize,
    /// How the imports are used.
    pub via: Via,
    /// The least length of an exported name.
    pub name_length: usize,
    /// Libraries in a chain of dependencies; with 1 the program itself needs all.
    pub depth: usize,
    /// Exported thread-local variables; each library uses those of the next one.
    pub thread_locals: usize,
    /// C++-like classes, each with type information and a virtual table (see [`SLOTS`]).
    pub classes: usize,
    /// Pointers into the library itself: relocations without a symbol.
    pub relative: usize,
    /// Linked with `linker-scripts/morsel.ld`: the segments are far apart.
    pub far: bool,
}

/// Functions in a virtual table: a third the class's own, a third inherited from another library's class, a third
/// inline, which every library defines and only the first definition counts.
pub const SLOTS: usize = 12;

impl Spec {
    /// A program without libraries.
    pub const HELLO: Self = Self {
        libraries: 0,
        functions: 0,
        objects: 0,
        imports: 0,
        via: Via::Pointers,
        name_length: 0,
        depth: 1,
        thread_locals: 0,
        classes: 0,
        relative: 0,
        far: false,
    };

    /// Libraries of 1000 exports, of which each imports 360 through data: measures symbol lookup and little else.
    pub const fn grid(libraries: usize) -> Self {
        Self { libraries, functions: 700, objects: 300, imports: 360, ..Self::HELLO }
    }

    /// The same with calls instead of data.
    pub const fn calls(libraries: usize) -> Self {
        Self { libraries, functions: 1000, imports: 360, via: Via::Calls, ..Self::HELLO }
    }

    /// How many relocations against symbols there are, libc's aside.
    pub const fn symbolic(&self) -> usize {
        let thread_locals = if self.thread_locals > 0 { 2 * self.thread_locals + 1 } else { 0 };
        // Beside the slots, a table names its type information, which names its class, its name and its base.
        self.libraries * (self.imports + thread_locals + (SLOTS + 4) * self.classes)
    }
}
