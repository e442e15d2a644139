//! What the user asked for: the environment variables that musl reads, our own `LD_MORSEL_*`, and the options of
//! direct invocation. Plain parsing; in secure-execution mode the environment is not consulted at all.

use core::ffi::CStr;

use log::LevelFilter;

/// What the names of all variables begin with that a loader reads.
pub const PREFIX: &[u8] = b"LD_";

/// Every thread of the process pays for it.
const MAX_TLS_SURPLUS: u64 = 64 << 10;

/// `LD_MORSEL_MAP`: which mapping backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapChoice {
    /// What hardly ever costs more than ordinary file mappings: shared page tables that are there already, or these.
    #[default]
    Auto,
    /// Shared page tables by `/dev/morsel`.
    Morsel,
    /// Huge pages.
    Huge,
    /// Ordinary file mappings.
    File,
}

impl MapChoice {
    const ALL: [Self; 4] = [Self::Auto, Self::Morsel, Self::Huge, Self::File];

    /// The value in `LD_MORSEL_MAP`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Morsel => "morsel",
            Self::Huge => "huge",
            Self::File => "file",
        }
    }
}

/// `LD_MORSEL_IMAGE`: whether to use an image, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageChoice<'a> {
    /// None.
    Off,
    /// The program's own, if there is one that may be used.
    Use {
        /// The image's path; if it ends in a slash, the directory of the program's own. `None`: the usual directory.
        place: Option<&'a CStr>,
        /// It is a directory of portable images, which are found by their programs' paths.
        portable: bool,
        /// Without an image the program does not start.
        required: bool,
    },
}

impl Default for ImageChoice<'_> {
    fn default() -> Self {
        Self::Use { place: None, portable: false, required: false }
    }
}

impl<'a> ImageChoice<'a> {
    /// Reads the variable's value.
    fn parse(value: &'a CStr) -> Option<Self> {
        let bytes = value.to_bytes_with_nul();
        let (required, place) = match bytes.strip_prefix(b"require:") {
            Some(place) => (true, place),
            None => (false, bytes),
        };
        match place {
            b"off\0" if !required => Some(Self::Off),
            b"auto\0" if !required => Some(Self::default()),
            b"require\0" if !required => Some(Self::Use { place: None, portable: false, required: true }),
            b"portable\0" => Some(Self::Use { place: None, portable: true, required }),
            [b'/', ..] => {
                Some(Self::Use { place: CStr::from_bytes_with_nul(place).ok(), portable: false, required })
            }
            _ => {
                let directory = CStr::from_bytes_with_nul(place.strip_prefix(b"portable:")?).ok()?;
                let absolute = directory.to_bytes().starts_with(b"/");
                absolute.then_some(Self::Use { place: Some(directory), portable: true, required })
            }
        }
    }
}

/// What the environment says.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// `LD_LIBRARY_PATH` or `--library-path`.
    pub library_path: Option<&'a CStr>,
    /// `LD_PRELOAD` or `--preload`.
    pub preload: Option<&'a CStr>,
    /// `LD_MORSEL_LIBC`: the libc to host.
    pub libc: Option<&'a CStr>,
    /// `LD_MORSEL_MAP`
    pub map: MapChoice,
    /// `LD_MORSEL_IMAGE`
    pub image: ImageChoice<'a>,
    /// `LD_MORSEL_ASLR`: an image is placed at random in each process.
    pub random_image: bool,
    /// `LD_MORSEL_LEARN`: the socket of a learner, which is told when a program has no image that may be used.
    pub learn: Option<&'a CStr>,
    /// `LD_MORSEL_LOG`
    pub log: LevelFilter,
    /// `LD_MORSEL_TLS_SURPLUS`: bytes of static thread-local storage for objects that are loaded later.
    pub tls_surplus: Option<u64>,
    /// `LD_MORSEL_STATS`: a path, or `-`.
    pub stats: Option<&'a CStr>,
    /// The program has rights that its caller lacks (`AT_SECURE`, or set-id): trust nothing that the caller controls.
    pub secure: bool,
}

impl<'a> Config<'a> {
    /// Reads the entries of the environment that begin with [`PREFIX`], unless `secure`. The first of several entries
    /// counts, as with `getenv`.
    ///
    /// A value of our own variables that makes no sense is reported to `complain` (variable, value, what is expected)
    /// and otherwise ignored: a slip in an environment must not keep programs from starting.
    #[inline(never)]
    pub fn from_environment(
        environment: impl Iterator<Item = &'a CStr>,
        secure: bool,
        mut complain: impl FnMut(&str, &CStr, &str),
    ) -> Self {
        let mut config = Self {
            library_path: None,
            preload: None,
            libc: None,
            map: MapChoice::default(),
            image: ImageChoice::default(),
            random_image: false,
            learn: None,
            log: LevelFilter::Off,
            tls_surplus: None,
            stats: None,
            secure,
        };
        if secure {
            return config;
        }
        let (mut map, mut log, mut surplus, mut image, mut aslr) = (None, None, None, None, None);
        for entry in environment {
            let wanted: [(&[u8], &mut Option<&'a CStr>); 10] = [
                (b"LD_LIBRARY_PATH", &mut config.library_path),
                (b"LD_PRELOAD", &mut config.preload),
                (b"LD_MORSEL_LIBC", &mut config.libc),
                (b"LD_MORSEL_STATS", &mut config.stats),
                (b"LD_MORSEL_LEARN", &mut config.learn),
                (b"LD_MORSEL_MAP", &mut map),
                (b"LD_MORSEL_IMAGE", &mut image),
                (b"LD_MORSEL_ASLR", &mut aslr),
                (b"LD_MORSEL_LOG", &mut log),
                (b"LD_MORSEL_TLS_SURPLUS", &mut surplus),
            ];
            for (name, value) in wanted {
                if value.is_none() {
                    *value = value_of(entry, name);
                }
            }
        }
        if let Some(value) = map {
            match MapChoice::ALL.iter().find(|choice| choice.name().as_bytes() == value.to_bytes()) {
                Some(choice) => config.map = *choice,
                None => complain("LD_MORSEL_MAP", value, "auto, morsel, huge or file"),
            }
        }
        if let Some(value) = image {
            match ImageChoice::parse(value) {
                Some(choice) => config.image = choice,
                None => complain(
                    "LD_MORSEL_IMAGE",
                    value,
                    "auto, off, portable, an absolute path, portable: and one, or require and one of these",
                ),
            }
        }
        if let Some(value) = aslr {
            match value.to_bytes() {
                b"process" => config.random_image = true,
                b"image" => {}
                _ => complain("LD_MORSEL_ASLR", value, "image or process"),
            }
        }
        if let Some(value) = log {
            match value.to_str().ok().and_then(|text| text.parse().ok()) {
                Some(level) => config.log = level,
                None => complain("LD_MORSEL_LOG", value, "off, error, warn, info, debug or trace"),
            }
        }
        if let Some(value) = surplus {
            match value.to_str().ok().and_then(|text| text.parse().ok()) {
                Some(bytes) if bytes <= MAX_TLS_SURPLUS => config.tls_surplus = Some(bytes),
                _ => complain("LD_MORSEL_TLS_SURPLUS", value, "a number of bytes up to 65536"),
            }
        }
        config.libc = config.libc.filter(|path| !path.is_empty());
        config.stats = config.stats.filter(|path| !path.is_empty());
        config.learn = config.learn.filter(|path| !path.is_empty());
        config
    }
}

/// The value of an environment entry if it is `name`'s.
pub fn value_of<'a>(entry: &'a CStr, name: &[u8]) -> Option<&'a CStr> {
    let rest = entry.to_bytes_with_nul().strip_prefix(name)?.strip_prefix(b"=")?;
    CStr::from_bytes_with_nul(rest).ok()
}

/// The command line of direct invocation, `ld-morsel [options] [--] pathname [args]`, as musl reads it (`__dls3`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// `--list`, or called by a name that ends in `ldd`: show what would be loaded.
    pub list: bool,
    /// `--library-path`
    pub library_path: Option<&'a CStr>,
    /// `--preload`
    pub preload: Option<&'a CStr>,
    /// `--argv0`: what the program is to see as its name.
    pub argv0: Option<&'a CStr>,
    /// How many arguments, our own name included, come before the program's path.
    pub consumed: usize,
}

impl<'a> CommandLine<'a> {
    /// Reads the arguments, `arguments[0]` being our own name. `None` calls for the usage text: an unknown option, an
    /// option without its value, or no program.
    ///
    /// Peculiarities of musl that are kept: options are recognised by their beginning (`--argv0` and `--argv0=x`, but
    /// `--argv0x` is an error), and only those with two dashes.
    pub fn parse(arguments: &[&'a CStr]) -> Option<Self> {
        let mut line = Self { list: arguments.first()?.to_bytes().ends_with(b"ldd"), ..Self::default() };
        let mut rest = arguments.iter().skip(1).copied().peekable();
        while let Some(option) = rest.next_if(|argument| argument.to_bytes().starts_with(b"--")) {
            let option = &option.to_bytes_with_nul()[2..];
            if option == b"\0" {
                break;
            } else if option == b"list\0" {
                line.list = true;
            } else if let Some(value) = option.strip_prefix(b"library-path") {
                line.library_path = Some(option_value(value, &mut rest)?);
            } else if let Some(value) = option.strip_prefix(b"preload") {
                line.preload = Some(option_value(value, &mut rest)?);
            } else if let Some(value) = option.strip_prefix(b"argv0") {
                line.argv0 = Some(option_value(value, &mut rest)?);
            } else {
                return None;
            }
        }
        rest.peek()?;
        line.consumed = arguments.len() - rest.count();
        Some(line)
    }
}

/// The value of an option: after `=`, or the next argument.
fn option_value<'a>(after_name: &'a [u8], rest: &mut impl Iterator<Item = &'a CStr>) -> Option<&'a CStr> {
    match after_name.split_first()? {
        (b'=', value) => CStr::from_bytes_with_nul(value).ok(),
        (0, _) => rest.next(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn config<'a>(entries: &[&'a CStr], secure: bool) -> (Config<'a>, usize) {
        let mut complaints = 0;
        let config = Config::from_environment(entries.iter().copied(), secure, |_, _, _| complaints += 1);
        (config, complaints)
    }

    #[test]
    fn the_first_of_several_entries_counts() {
        let (config, _) = config(&[c"LD_PRELOAD=a", c"LD_PRELOAD=b", c"LD_PRELOADER=c"], false);
        assert_eq!(config.preload, Some(c"a"));
    }

    #[test]
    fn secure_mode_reads_nothing() {
        let (config, _) = config(&[c"LD_PRELOAD=a", c"LD_MORSEL_LOG=trace", c"LD_MORSEL_LEARN=/x"], true);
        assert_eq!((config.preload, config.learn, config.log), (None, None, LevelFilter::Off));
    }

    #[test]
    fn nonsense_values_are_reported_and_ignored() {
        let (config, complaints) = config(&[c"LD_MORSEL_MAP=fast", c"LD_MORSEL_LOG=loud"], false);
        assert_eq!((config.map, config.log, complaints), (MapChoice::Auto, LevelFilter::Off, 2));
    }

    fn parse<'a>(arguments: &[&'a CStr]) -> Option<CommandLine<'a>> {
        CommandLine::parse(arguments)
    }

    #[test]
    fn options_take_their_value_either_way() {
        let line =
            parse(&[c"ld", c"--library-path", c"/a", c"--preload=b", c"--argv0", c"x", c"prog", c"arg"]);
        let line = line.expect("a program is named");
        assert_eq!((line.library_path, line.preload, line.argv0), (Some(c"/a"), Some(c"b"), Some(c"x")));
        assert_eq!(line.consumed, 6);
    }

    #[test]
    fn a_double_dash_ends_the_options() {
        let line = parse(&[c"ld", c"--", c"--list"]).expect("a program is named");
        assert_eq!((line.list, line.consumed), (false, 2));
    }

    #[test]
    fn names_ending_in_ldd_list() {
        assert!(parse(&[c"/usr/bin/ldd", c"prog"]).expect("a program is named").list);
    }

    #[test]
    fn mistakes_call_for_the_usage_text() {
        let mistakes: Vec<&[&CStr]> = alloc::vec![
            &[c"ld"],
            &[c"ld", c"--list"],
            &[c"ld", c"--unknown", c"prog"],
            &[c"ld", c"--listing", c"prog"],
            &[c"ld", c"--argv0x", c"prog"],
            &[c"ld", c"--preload"],
            &[],
        ];
        for arguments in mistakes {
            assert_eq!(parse(arguments), None, "{arguments:?}");
        }
    }
}
