//! Lists of jobs, written page by page as the desk gives them out.

use std::io;

use harp_jobs::client::Client;

use super::administrator::Administrator;
use super::replies::{self, JobLine};
use super::request::Filters;
use crate::desk::Desk;
use crate::desk::lists::Jobs;
use crate::desk::queues::QueueJobs;
use crate::faces::listing::job_object::JobObject;
use crate::faces::listing::jobs::Asked;
use crate::faces::listing::names::Names;
use crate::faces::listing::values::Values;

/// Jobs that are found at once.
const PAGE: usize = 256;

/// The jobs, one a line, then the result.
///
/// # Errors
///
/// If the administrator cannot be written to.
pub(super) async fn stream(mut jobs: Jobs, administrator: &mut Administrator) -> io::Result<()> {
    loop {
        match jobs.next_page().await {
            Ok(Some(page)) => {
                let jobs = page.into_iter().map(|report| JobLine::of(report, None));
                let lines: Vec<u8> = jobs.flat_map(|job| replies::line(&job)).collect();
                administrator.write(&lines).await?;
            }
            Ok(None) => return administrator.write(&replies::ok()).await,
            Err(refusal) => return administrator.write(&replies::refused(refusal)).await,
        }
    }
}

/// All jobs that match filters, the newest first unless the filters say otherwise, one a line,
/// each as clients are told it, then the result.
///
/// # Errors
///
/// If the administrator cannot be written to.
pub(super) async fn find(
    desk: &Desk,
    by: &Client,
    names: Filters,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let asked = Asked::take(Names::new(names));
    let mut find = match asked {
        Ok(asked) => asked.find,
        Err(fault) => return administrator.write(&replies::error(fault)).await,
    };
    find.limit = PAGE;
    loop {
        let found = match desk.find(by, &find).await {
            Ok(found) => found,
            Err(refusal) => return administrator.write(&replies::refused(refusal)).await,
        };
        let jobs = found.jobs.iter();
        let lines: Vec<u8> = jobs
            .flat_map(|view| replies::line(&JobObject::whole(view, Values::AsSent)))
            .collect();
        administrator.write(&lines).await?;
        find.after = found.next;
        if found.next.is_none() {
            return administrator.write(&replies::ok()).await;
        }
    }
}

/// The jobs in one line, which is written page by page as well.
///
/// # Errors
///
/// If the administrator cannot be written to, or the store cannot be read in the middle
/// of the line: the connection then ends without the line's end.
pub(super) async fn list(mut jobs: Jobs, administrator: &mut Administrator) -> io::Result<()> {
    let mut line = Line::begin();
    while let Some(page) = jobs.next_page().await.map_err(io::Error::other)? {
        let jobs = page.into_iter().map(|report| JobLine::of(report, None));
        line.write(jobs, administrator).await?;
    }
    line.end(administrator).await
}

/// The jobs of a queue in one line, each with whether it holds a place.
///
/// # Errors
///
/// As for [`list`].
pub(super) async fn list_queue(
    mut jobs: QueueJobs,
    administrator: &mut Administrator,
) -> io::Result<()> {
    let mut line = Line::begin();
    while let Some(page) = jobs.next_page().await.map_err(io::Error::other)? {
        let jobs = page.into_iter();
        let jobs = jobs.map(|(report, runs)| JobLine::of(report, Some(runs)));
        line.write(jobs, administrator).await?;
    }
    line.end(administrator).await
}

/// A line that has been written in part.
struct Line {
    text: Vec<u8>,
    is_empty: bool,
}

impl Line {
    fn begin() -> Line {
        Line {
            text: br#"{"result":"ok","jobs":["#.to_vec(),
            is_empty: true,
        }
    }

    async fn write(
        &mut self,
        jobs: impl Iterator<Item = JobLine>,
        administrator: &mut Administrator,
    ) -> io::Result<()> {
        for job in jobs {
            if !std::mem::take(&mut self.is_empty) {
                self.text.push(b',');
            }
            self.text
                .extend_from_slice(replies::line(&job).trim_ascii_end());
        }
        administrator.write(&self.text).await?;
        self.text.clear();
        Ok(())
    }

    async fn end(mut self, administrator: &mut Administrator) -> io::Result<()> {
        self.text.extend_from_slice(b"]}\n");
        administrator.write(&self.text).await
    }
}
