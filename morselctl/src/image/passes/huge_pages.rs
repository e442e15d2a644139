//! Code, and what is read-only after relocation, in pages of 2 MiB: the windows begin and end at multiples of that, and the file
//! is written in such pieces, so that the page cache holds them in one piece each. The kernel then needs one page fault and one
//! entry of a page table for each. Libraries in one piece gain nothing: code and data alternate there.

use anyhow::{Result, bail};

use super::Pass;
use crate::image::layout::Arrangement;
use crate::image::library::Library;

struct HugePages;

/// Takes no value.
pub fn make(value: Option<&str>) -> Result<Box<dyn Pass>> {
    match value {
        None => Ok(Box::new(HugePages)),
        Some(_) => bail!("the pass `huge-pages` takes no value"),
    }
}

impl Pass for HugePages {
    fn arrange(&mut self, _libraries: &[Library], arrangement: &mut Arrangement) -> Result<()> {
        arrangement.huge = true;
        Ok(())
    }
}
