//! How much of a processor's time the judging of one value may take.
//!
//! A schema may refer to its own parts more than once, and those again: what is written in forty
//! lines has 2^40 parts to be judged. So each part that leads to others looks at the clock, by a
//! keyword of ours that is added to the schema when it is read, and when the time is over the
//! judging is left by unwinding.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use jsonschema::paths::Location;
use jsonschema::{Keyword, ValidationError};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value};

/// The keyword that looks at the clock.
pub(crate) const KEYWORD: &str = "x-harp-effort";

/// The time that it may take. It is that of the thread, so that a busy machine refuses nothing.
pub(crate) const LONGEST: Duration = Duration::from_millis(200);

/// The clock is looked at once in so many parts.
const PARTS: u32 = 64;

/// Keywords whose values are no schemas, whatever they look like.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];

/// Keywords that lead to schemas by an array.
const LISTS: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];

/// Keywords that lead to schemas by an object.
const OBJECTS: [&str; 16] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "dependencies",
    "dependentSchemas",
    "else",
    "if",
    "items",
    "not",
    "patternProperties",
    "properties",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

thread_local! {
    /// When the time is over, by the thread's clock, and how many parts there were.
    static UNTIL: Cell<Option<(Duration, u32)>> = const { Cell::new(None) };
}

/// The time is over.
struct Spent;

/// Judges within the time; `None` if that is not enough.
pub(crate) fn within<T>(longest: Duration, judge: impl FnOnce() -> T) -> Option<T> {
    UNTIL.set(Some((now() + longest, 0)));
    let judged = catch_unwind(AssertUnwindSafe(judge));
    UNTIL.set(None);
    match judged {
        Ok(judged) => Some(judged),
        Err(why) if why.is::<Spent>() => None,
        Err(fault) => resume_unwind(fault),
    }
}

/// Adds the keyword to each part that leads to others.
pub(crate) fn watch(schema: &mut Value) {
    match schema {
        Value::Object(parts) => {
            for (keyword, value) in parts.iter_mut() {
                if !DATA.contains(&keyword.as_str()) {
                    watch(value);
                }
            }
            if leads_on(parts) {
                // A schema of every draft, should the keyword stand among names of properties.
                parts.insert(KEYWORD.to_owned(), Value::Object(Map::new()));
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(watch),
        _ => {}
    }
}

fn leads_on(parts: &Map<String, Value>) -> bool {
    let is_schema = |value: &Value| value.is_object() || value.is_boolean();
    parts.iter().any(|(keyword, value)| match value {
        Value::Array(list) => LISTS.contains(&keyword.as_str()) && list.iter().all(is_schema),
        Value::Object(_) => OBJECTS.contains(&keyword.as_str()),
        _ => false,
    })
}

/// Makes the keyword, for whoever compiles a schema.
pub(crate) fn keyword<'a>(
    _: &'a Map<String, Value>,
    _: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    Ok(Box::new(Effort))
}

struct Effort;

impl<'i> Keyword<'i> for Effort {
    fn validate(&self, _: &'i Value) -> Result<(), ValidationError<'i>> {
        look();
        Ok(())
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        look();
        true
    }
}

/// Leaves the judging if its time is over.
fn look() {
    let Some((until, parts)) = UNTIL.get() else {
        return;
    };
    UNTIL.set(Some((until, parts.wrapping_add(1))));
    if parts % PARTS == 0 && now() >= until {
        // No panic: nothing is told, and nothing is wrong with this program.
        resume_unwind(Box::new(Spent));
    }
}

/// The time that this thread has had.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
