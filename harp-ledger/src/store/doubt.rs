//! Whether the jobs that are found live in a store are: where what was written last is gone,
//! or something in the middle, some may have ended.

use super::contents::Contents;
use super::directory::Directory;
use super::entries::Entries;
use super::image::Image;
use super::layout;
use super::live_sum::LiveSum;
use super::opened;
use super::sled::EngineError;

/// Why a job that is found live may have ended.
pub(super) const END_LOST: &str = "what was written last is gone";

/// Likewise, where something in the middle is gone.
const SUM_LOST: &str = "which jobs live is lost";

/// Why it is not known of the jobs that are found live whether they are; `None` if it is.
pub(super) fn doubt(
    image: &Image,
    directory: &Directory,
    damage: Option<&str>,
) -> Result<Option<&'static str>, EngineError> {
    if mark(image)? < directory.noted_mark().unwrap_or(0) {
        return Ok(Some(END_LOST));
    }
    let noted = Contents::noted(image)?.and_then(|contents| contents.live);
    let fits = match noted {
        Some(noted) => LiveSum::count(image)? == Some(noted),
        // A store of an earlier layout does not say.
        None => damage.is_none(),
    };
    Ok((!fits).then_some(SUM_LOST))
}

/// The mark that is found.
pub(super) fn mark(image: &Image) -> Result<u64, EngineError> {
    let mark = image.get(layout::MARK_KEY)?;
    Ok(mark.as_deref().and_then(opened::decimal).unwrap_or(0))
}
