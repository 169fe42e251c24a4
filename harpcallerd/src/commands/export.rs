//! `export --online`: all jobs of a running daemon in a file.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use harp_ledger::transfer::Packing;
use harp_service::private_file::Replacement;
use harp_service::streams::Patient;
use harpcallerd::faces::admin::request::AdminRequest;
use serde::Deserialize;

use super::Done;
use super::control::{Control, Reply, read};
use super::printing::note;
use super::store::refuse_special;

/// What the daemon says at the end.
#[derive(Deserialize)]
struct Exported {
    jobs_exported: u64,
    jobs_damaged: u64,
    problems: Vec<String>,
}

/// Writes all jobs into a file, or to standard output if that is `-`.
pub(crate) fn online(socket: &Path, file: &Path) -> Done {
    let mut control = Control::connect(socket)?;
    let exported = if file == Path::new("-") {
        let (mut out, exported) = pack(&mut control, Patient(io::stdout()))?;
        out.flush()?;
        exported
    } else {
        refuse_special(file)?;
        // The file appears under its name when it is whole.
        let out = BufWriter::new(Replacement::begin(file)?);
        let (out, exported) = pack(&mut control, out)?;
        let new = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        new.finish()?;
        exported
    };
    for problem in &exported.problems {
        note(format_args!("harpcallerd: {problem}"));
    }
    note(format_args!("{} jobs exported", exported.jobs_exported));
    if exported.jobs_damaged > 0 {
        bail!(
            "of {} jobs something is left out, because it is damaged",
            exported.jobs_damaged
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Packs the lines that the daemon gives out.
fn pack<W: Write>(control: &mut Control, out: W) -> anyhow::Result<(W, Exported)> {
    control
        .send(&AdminRequest::ExportJobs)
        .context("cannot speak to the daemon")?;
    let mut packing = Packing::new(out);
    while let Some(line) = control.line().context("cannot hear the daemon")? {
        if line.starts_with(r#"{"crc""#) {
            packing.line(line.as_bytes())?;
            continue;
        }
        read::<Reply>(&line)?.ok()?;
        return Ok((packing.finish()?, read(&line)?));
    }
    bail!("the daemon ended before the end of the export")
}
