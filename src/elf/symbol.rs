//! Symbol tables: an object's symbols, their names, and looking one up by name.

use core::ops::Range;

use goblin::elf64::sym::{
    STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_COMMON, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE,
    STT_OBJECT, STT_TLS, Sym,
};

use super::{Dynamic, ElfError, Filter, HashTable, SymbolName, Vaddr, VersionDefinitions, View};

/// One `Elf64_Sym`; laid out as it is in the file, so that it is copied as a whole.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Symbol {
    /// `st_name`: offset into the string table.
    pub name: u32,
    info: u8,
    other: u8,
    section: u16,
    /// `st_value`: an address, or an offset into the object's thread-local storage.
    pub value: u64,
    /// `st_size`, in bytes.
    pub size: u64,
}

impl From<&Sym> for Symbol {
    #[inline]
    fn from(raw: &Sym) -> Self {
        Self {
            name: raw.st_name,
            value: raw.st_value,
            size: raw.st_size,
            info: raw.st_info,
            other: raw.st_other,
            section: raw.st_shndx,
        }
    }
}

impl Symbol {
    /// A symbol that is known by its parts; it has no name.
    pub fn from_parts(value: u64, size: u64, info: u8, section: u16) -> Self {
        Self { name: 0, info, other: 0, section, value, size }
    }

    /// `st_shndx`
    pub fn section(&self) -> u16 {
        self.section
    }

    /// `st_shndx` is not `SHN_UNDEF`.
    pub fn is_defined(&self) -> bool {
        self.section != 0
    }

    /// The binding is `STB_LOCAL`.
    pub fn is_local(&self) -> bool {
        self.info >> 4 == STB_LOCAL
    }

    /// The binding is `STB_WEAK`.
    pub fn is_weak(&self) -> bool {
        self.info >> 4 == STB_WEAK
    }

    /// The type is `STT_TLS`.
    pub fn is_tls(&self) -> bool {
        self.info & 0xf == STT_TLS
    }

    /// The type is `STT_GNU_IFUNC`: the value is the address of a function that returns the real one.
    pub fn is_ifunc(&self) -> bool {
        self.info & 0xf == STT_GNU_IFUNC
    }

    /// The address as it was linked.
    pub fn vaddr(&self) -> Vaddr {
        Vaddr(self.value)
    }

    /// `st_info`: type in the low and binding in the high four bits.
    pub fn info(&self) -> u8 {
        self.info
    }

    /// Whether musl's loader accepts the binding (`OK_BINDS`).
    pub fn has_linkable_binding(&self) -> bool {
        matches!(self.info >> 4, STB_GLOBAL | STB_WEAK | STB_GNU_UNIQUE)
    }

    /// Whether musl's loader accepts the type (`OK_TYPES`). `STT_GNU_IFUNC` is not among them.
    pub fn has_linkable_type(&self) -> bool {
        matches!(self.info & 0xf, STT_NOTYPE | STT_OBJECT | STT_FUNC | STT_COMMON | STT_TLS)
    }
}

/// An object's dynamic symbol table with its strings and hash table.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'a> {
    symbols: &'a [Sym],
    strings: &'a [u8],
    hash: HashTable<'a>,
    /// `DT_VERSYM`, empty if the object has none.
    versions: &'a [u16],
    definitions: Option<VersionDefinitions<'a>>,
}

/// The bit of a `DT_VERSYM` entry that hides a symbol from lookup by name (musl: `versym[i] < 0`).
const VERSION_HIDDEN: u16 = 0x8000;

fn is_visible(version: u16) -> bool {
    version & VERSION_HIDDEN == 0
}

impl<'a> SymbolTable<'a> {
    /// A table without symbols.
    pub const EMPTY: Self =
        Self { symbols: &[], strings: &[], hash: HashTable::None, versions: &[], definitions: None };

    /// The symbol table that `dynamic` describes. Tables that it does not mention are empty.
    ///
    /// # Errors
    /// [`ElfError::BadTable`] naming the table that reaches outside the object.
    pub fn parse(view: &View<'a>, dynamic: &Dynamic) -> Result<Self, ElfError> {
        Self::parse_with(view, dynamic, None)
    }

    /// The same. If `gnu_hash` is the head of the object's `DT_GNU_HASH`, no page of the object is touched.
    ///
    /// # Errors
    /// As for [`SymbolTable::parse`].
    pub fn parse_with(
        view: &View<'a>,
        dynamic: &Dynamic,
        gnu_hash: Option<[u32; 4]>,
    ) -> Result<Self, ElfError> {
        let symbols = match dynamic.symtab {
            Some(vaddr) => view.table_from(vaddr, "DT_SYMTAB")?,
            None => &[],
        };
        let strings = match dynamic.strtab {
            Some(vaddr) => view.from(vaddr).ok_or(ElfError::BadTable("DT_STRTAB"))?,
            None => &[],
        };
        let versions = match dynamic.versym {
            Some(vaddr) => view.table_from(vaddr, "DT_VERSYM")?,
            None => &[],
        };
        let hash = HashTable::parse(view, dynamic.gnu_hash, dynamic.hash, gnu_hash)?;
        let definitions = dynamic.verdef.and_then(|vaddr| view.from(vaddr)).map(VersionDefinitions::new);
        Ok(Self { symbols, strings, hash, versions, definitions })
    }

    /// The symbol at `index`, if the table is that long.
    #[inline]
    pub fn get(&self, index: u32) -> Option<Symbol> {
        self.symbols.get(index as usize).map(Symbol::from)
    }

    /// A symbol's name; `None` if the string table has no such offset or the name no end.
    pub fn name_of(&self, symbol: &Symbol) -> Option<SymbolName<'a>> {
        SymbolName::read(self.strings.get(symbol.name as usize..)?)
    }

    /// The name of the symbol at `index`, if it is one that is looked up: the symbol is not local.
    #[inline]
    pub fn global_name_at(&self, index: u32) -> Option<SymbolName<'a>> {
        let symbol = self.raw_entry(index).filter(|symbol| symbol.st_info >> 4 != STB_LOCAL)?;
        SymbolName::read(self.strings.get(symbol.st_name as usize..)?)
    }

    /// The NUL-terminated string at `offset` of the string table.
    pub fn string(&self, offset: u64) -> Option<&'a core::ffi::CStr> {
        let rest = self.strings.get(usize::try_from(offset).ok()?..)?;
        core::ffi::CStr::from_bytes_until_nul(rest).ok()
    }

    /// The head of the `DT_GNU_HASH` table, if that is what the object has.
    pub fn gnu_hash_head(&self) -> Option<[u32; 4]> {
        self.hash.gnu_head()
    }

    /// A filter for the names that [`SymbolTable::lookup`] finds.
    pub fn filter(&self) -> Filter<'a> {
        self.hash.filter()
    }

    /// The first symbol of that name in the hash table, whatever its type or value, unless its version is hidden
    /// (`gnu_lookup`, `sysv_lookup`). Does not ask the filter.
    #[inline]
    pub fn lookup(&self, name: &SymbolName<'_>) -> Option<Symbol> {
        self.lookup_raw(name).map(Symbol::from)
    }

    /// The same, as it is in memory.
    #[inline]
    pub fn lookup_raw(&self, name: &SymbolName<'_>) -> Option<&'a Sym> {
        self.raw_entry(self.number_of(name)?)
    }

    /// The number of the symbol that [`SymbolTable::lookup`] finds.
    #[inline(never)]
    fn number_of(&self, name: &SymbolName<'_>) -> Option<u32> {
        self.number_where(name, is_visible)
    }

    /// The symbol of that name and version, hidden or not. An object that defines no versions has one for all.
    pub fn lookup_version(&self, name: &SymbolName<'_>, version: &SymbolName<'_>) -> Option<Symbol> {
        let Some(definitions) = &self.definitions else { return self.lookup(name) };
        let is_version = |offset| {
            let name = usize::try_from(offset).ok().and_then(|offset| self.strings.get(offset..));
            name.is_some_and(|rest| version.is_at(rest))
        };
        let wanted = definitions.index_of(is_version)?;
        self.get(self.number_where(name, |version| version & !VERSION_HIDDEN == wanted)?)
    }

    /// Whether hash values tell which symbols may have a name: the object has a `DT_GNU_HASH` table.
    #[inline]
    pub fn has_hash_values(&self) -> bool {
        matches!(self.hash, HashTable::Gnu(_))
    }

    /// The number of the first symbol that [`SymbolTable::lookup`] compares with a name, if [`SymbolTable::has_hash_values`].
    #[inline]
    pub fn candidate(&self, name: &SymbolName<'_>) -> Option<u32> {
        match &self.hash {
            HashTable::Gnu(table) => table.find(name, |_| true),
            HashTable::Sysv(_) | HashTable::None => None,
        }
    }

    /// What [`SymbolTable::lookup`] finds, if the first symbol that it compares is the one at `index`.
    #[inline]
    pub fn lookup_from(&self, index: u32, name: &SymbolName<'_>) -> Option<&'a Sym> {
        self.visible_at(index, name).or_else(|| self.lookup_behind(index, name))
    }

    /// The same, where it is not that symbol itself.
    #[cold]
    #[inline(never)]
    fn lookup_behind(&self, index: u32, name: &SymbolName<'_>) -> Option<&'a Sym> {
        self.raw_entry(self.hash.find_from(index, name, |index| self.is_at(index, name, is_visible))?)
    }

    /// What [`SymbolTable::lookup`] finds, for a name that may be the one of the symbol at `index`, if the symbols before it do
    /// not have it. Chains of the SysV table have an order of their own, so that they are asked.
    #[inline]
    pub fn lookup_at(&self, index: u32, name: &SymbolName<'_>) -> Option<&'a Sym> {
        if let HashTable::Sysv(_) = self.hash {
            return self.lookup_raw(name);
        }
        self.visible_at(index, name)
    }

    /// The first byte of the name of the symbol at `index`.
    #[inline]
    pub fn start_of_name(&self, index: u32) -> Option<&'a u8> {
        self.strings.get(self.symbols.get(index as usize)?.st_name as usize)
    }

    /// The number of the first symbol that can be looked up: cheaper than all of [`SymbolTable::exports`].
    pub fn first_export(&self) -> u32 {
        self.hash.first_covered()
    }

    /// The symbols that can be looked up, by their numbers. What comes before them is not defined, as a rule.
    pub fn exports(&self) -> Range<u32> {
        self.hash.covered()
    }

    /// Calls `each` for some of the [`SymbolTable::exports`], with the hash value of its name (`DT_GNU_HASH`), but for the
    /// lowest bit.
    #[inline]
    pub fn for_each_hash(&self, exports: &Range<u32>, mut each: impl FnMut(u32, u32)) {
        match &self.hash {
            HashTable::Gnu(table) => {
                table
                    .hashes(exports)
                    .iter()
                    .zip(exports.start..)
                    .for_each(|(&hash, symbol)| each(symbol, hash));
            }
            HashTable::Sysv(_) | HashTable::None => {
                for symbol in exports.clone() {
                    if let Some(name) = self.get(symbol).and_then(|symbol| self.name_of(&symbol)) {
                        each(symbol, name.gnu_hash());
                    }
                }
            }
        }
    }

    #[inline]
    fn number_where(&self, name: &SymbolName<'_>, accepts: impl Fn(u16) -> bool) -> Option<u32> {
        self.hash.find(name, |index| self.is_at(index, name, &accepts))
    }

    /// Whether the symbol at `index` has that name, and a version that is accepted.
    #[inline]
    fn is_at(&self, index: u32, name: &SymbolName<'_>, accepts: impl Fn(u16) -> bool) -> bool {
        self.named_at(index, name, accepts).is_some()
    }

    /// The symbol at `index` if it has that name, and is visible.
    #[inline]
    fn visible_at(&self, index: u32, name: &SymbolName<'_>) -> Option<&'a Sym> {
        self.named_at(index, name, is_visible)
    }

    #[inline]
    fn named_at(&self, index: u32, name: &SymbolName<'_>, accepts: impl Fn(u16) -> bool) -> Option<&'a Sym> {
        let symbol = self.symbols.get(index as usize)?;
        let accepted = self.versions.get(index as usize).is_none_or(|&version| accepts(version));
        let rest = self.strings.get(symbol.st_name as usize..).filter(|_| accepted)?;
        name.is_at(rest).then_some(symbol)
    }

    /// Where in memory a symbol's entry is, for those who want to see it as it is.
    #[inline]
    pub fn raw_entry(&self, index: u32) -> Option<&'a Sym> {
        self.symbols.get(index as usize)
    }

    /// All symbols that the hash table covers, with their indices, for searching by address.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Symbol)> + '_ {
        (0..self.hash.symbol_count()).map_while(|index| Some((index, self.get(index)?)))
    }
}
