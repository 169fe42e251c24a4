//! Services: what a list of them asks for, its page, and a service as JSON.

use harp_proto::Json;
use serde::Serialize;

use super::cursor::Question;
use super::jobs::limit;
use super::names::{NameFault, Names};
use crate::services::Service;
use crate::services::service::{Declared, ServiceId};

/// Which services are asked for.
#[derive(Debug)]
pub struct Asked {
    /// They stand behind this one.
    pub after: Option<ServiceId>,
    /// At most so many.
    pub limit: usize,
    question: Question,
}

/// A page of services.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    services: Vec<ServiceObject<'a>>,
    next: Option<String>,
}

/// A service, to be written. Times are milliseconds since 1970.
#[derive(Debug, Serialize)]
pub struct ServiceObject<'a> {
    id: String,
    name: &'a str,
    description: &'a str,
    arguments_schema: Option<&'a Json>,
    result_schema: Option<&'a Json>,
    available: bool,
    timeout: u64,
    checked_in: u64,
    asked_for_work: Option<u64>,
    workers: usize,
    client: Option<&'a str>,
    registered: u64,
}

impl<'a> From<&'a Service> for ServiceObject<'a> {
    fn from(service: &'a Service) -> ServiceObject<'a> {
        let definition = &service.definition;
        ServiceObject {
            id: service.id.to_string(),
            name: &definition.name,
            description: &definition.description,
            arguments_schema: definition.arguments.as_ref().map(Declared::text),
            result_schema: definition.result.as_ref().map(Declared::text),
            available: definition.available,
            timeout: definition.timeout,
            checked_in: service.checked_in,
            asked_for_work: service.asked_for_work,
            workers: service.workers,
            client: definition.client.as_deref(),
            registered: definition.registered,
        }
    }
}

impl Asked {
    /// Takes all names.
    ///
    /// # Errors
    ///
    /// With the name that is wrong or means nothing.
    pub fn take(mut names: Names) -> Result<Asked, NameFault> {
        let question = Question::of("services", &names);
        let limit = limit(&mut names)?;
        let after = match names.text("cursor")? {
            None => None,
            Some(cursor) => {
                let place = question.place(&cursor)?;
                let id = std::str::from_utf8(&place)
                    .ok()
                    .and_then(|id| id.parse().ok());
                let wrong = || NameFault::new("cursor", "is not one of this list");
                Some(id.ok_or_else(wrong)?)
            }
        };
        names.done()?;
        Ok(Asked {
            after,
            limit,
            question,
        })
    }

    /// What there is.
    #[must_use]
    pub fn page<'a>(&self, services: &'a [Service]) -> Page<'a> {
        let last = services.last().filter(|_| services.len() >= self.limit);
        let next = last.map(|last| self.question.cursor(last.id.to_string().as_bytes()));
        Page {
            services: services.iter().map(ServiceObject::from).collect(),
            next,
        }
    }
}
