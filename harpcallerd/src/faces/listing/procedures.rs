//! Procedures: what a list of them asks for, and its page.

use harp_proto::Json;
use serde::Serialize;

use super::cursor::Question;
use super::jobs::limit;
use super::names::{NameFault, Names};
use crate::desk::find::Name;
use crate::desk::procedures::{ProcedureOverview, WantedProcedures};

/// Which procedures are asked for.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub wanted: WantedProcedures,
    question: Question,
}

/// A page of procedures.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    procedures: Vec<Procedure<'a>>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Procedure<'a> {
    host: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    arguments_schema: Option<&'a Json>,
    result_schema: Option<&'a Json>,
    source: &'static str,
    learned: Option<u64>,
}

impl Asked {
    /// Takes all names. `host` is the host that the list is of, if it is of one.
    ///
    /// # Errors
    ///
    /// With the name that is wrong or means nothing.
    pub fn take(mut names: Names, host: Option<String>) -> Result<Asked, NameFault> {
        let kind = format!("procedures {host:?}");
        let question = Question::of(&kind, &names);
        let limit = limit(&mut names)?;
        let host = match host {
            Some(host) => Name::exactly(host),
            None => Name::new(&names.all("host")),
        };
        let part = names.text("q")?.unwrap_or_default();
        let refresh = names.boolean("refresh")?;
        let after = match names.text("cursor")? {
            None => None,
            Some(cursor) => {
                let place: Result<(String, String), _> =
                    serde_json::from_slice(&question.place(&cursor)?);
                let wrong = |_| NameFault::new("cursor", "is not one of this list");
                Some(place.map_err(wrong)?)
            }
        };
        names.done()?;
        Ok(Asked {
            wanted: WantedProcedures {
                host,
                part,
                // They have been asked for the first page.
                refresh: refresh && after.is_none(),
                after,
                limit,
            },
            question,
        })
    }

    /// What there is.
    #[must_use]
    pub fn page<'a>(&self, procedures: &'a [ProcedureOverview]) -> Page<'a> {
        let last = procedures.last();
        let last = last.filter(|_| procedures.len() >= self.wanted.limit);
        let next = last.map(|last| {
            // Of strings it is known that they can be written.
            let place = serde_json::to_vec(&(&last.host, &last.name)).unwrap_or_default();
            self.question.cursor(&place)
        });
        let procedures = procedures.iter().map(|procedure| Procedure {
            host: &procedure.host,
            name: &procedure.name,
            description: procedure.described.description.as_deref(),
            arguments_schema: procedure.described.arguments_schema.as_ref(),
            result_schema: procedure.described.result_schema.as_ref(),
            source: procedure.source.name(),
            learned: procedure.source.learned(),
        });
        Page {
            procedures: procedures.collect(),
            next,
        }
    }
}
