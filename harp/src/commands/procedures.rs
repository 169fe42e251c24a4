//! `harp list` and `harp describe`

use std::fmt::Write as _;

use harp_service::terminal;
use serde_json::{Map, Value, json};

use super::list::{Columns, pages, row, table};
use crate::command_line::{Describe, ListProcedures};
use crate::dispatcher::Dispatcher;
use crate::event::Subject;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;

const COLUMNS: Columns = &[
    ("HOST", "host"),
    ("PROCEDURE", "name"),
    ("DESCRIPTION", "description"),
];

pub(super) async fn list(
    words: ListProcedures,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let dispatcher = Dispatcher::new(&words.dispatcher, settings, screen)?;
    let mut wanted = Map::new();
    if let Some(host) = words.host {
        wanted.insert("host".to_owned(), json!(host));
    }
    wanted.insert("refresh".to_owned(), json!(words.refresh));
    let subject = Subject::default();
    let mut rows = Vec::new();
    procedures(&dispatcher, &wanted, |entry| {
        if screen.is_json() {
            screen.value(&subject, &entry.to_string())?
        } else {
            rows.push(row(&without_lines(entry), COLUMNS))
        }
        Ok(())
    })
    .await?;
    if !screen.is_json() {
        screen.value(&subject, &table(&rows, COLUMNS))?;
    }
    Ok(Exit::Returned)
}

pub(super) async fn describe(
    words: Describe,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let dispatcher = Dispatcher::new(&words.dispatcher, settings, screen)?;
    let mut wanted = Map::new();
    wanted.insert("host".to_owned(), json!(words.host));
    wanted.insert("q".to_owned(), json!(words.procedure));
    wanted.insert("refresh".to_owned(), json!(words.refresh));
    let mut found = None;
    procedures(&dispatcher, &wanted, |entry| {
        if entry["host"] == *words.host && entry["name"] == *words.procedure {
            found = Some(entry.clone());
        }
        Ok(())
    })
    .await?;
    let Some(procedure) = found else {
        let told = format!(
            "nothing is known of a procedure {:?} of the host {:?}, or you may not call it",
            words.procedure, words.host
        );
        let advice = "A procedure that nobody has described can be called all the same.";
        return Err(Problem::new(Exit::Refused, told).with_advice(advice.to_owned()));
    };
    let subject = Subject::default();
    if screen.is_json() {
        screen.value(&subject, &procedure.to_string())?
    } else {
        screen.value(&subject, &description(&procedure))?
    }
    Ok(Exit::Returned)
}

async fn procedures(
    dispatcher: &Dispatcher,
    wanted: &Map<String, Value>,
    take: impl FnMut(&Value) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let (request, key) = ("list_procedures", "procedures");
    pages(dispatcher, request, key, wanted, u64::MAX, take).await
}

/// A procedure with the first line of its description, for a table.
fn without_lines(procedure: &Value) -> Value {
    let mut procedure = procedure.clone();
    if let Some(text) = procedure["description"].as_str() {
        procedure["description"] = json!(text.trim_start().lines().next());
    }
    procedure
}

/// A procedure for people. What a schema is stands there as it was written, set out in lines.
fn description(procedure: &Value) -> String {
    let mut text = String::new();
    for (name, key) in [
        ("host", "host"),
        ("procedure", "name"),
        ("known by", "source"),
    ] {
        let value = procedure[key].as_str().unwrap_or("-");
        // A String takes everything.
        let _ = writeln!(text, "{name:<9}  {}", terminal::one_line(value));
    }
    if let Some(described) = procedure["description"].as_str() {
        let _ = write!(text, "\n{}\n", terminal::clean(described.trim_end()));
    }
    for (name, key) in [
        ("arguments", "arguments_schema"),
        ("result", "result_schema"),
    ] {
        let schema = match &procedure[key] {
            Value::Null => "anything".to_owned(),
            schema => serde_json::to_string_pretty(schema).unwrap_or_default(),
        };
        let _ = write!(text, "\n{name}: {}\n", terminal::clean(&schema));
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said() {
        let text = description(&json!({
            "host": "web01", "name": "deploy", "source": "registry",
            "description": "Brings a release.\nSlowly.\n", "arguments_schema": {"type": "object"},
            "result_schema": null,
        }));
        assert_eq!(
            text,
            "host       web01\nprocedure  deploy\nknown by   registry\n\nBrings a release.\nSlowly.\n\n\
             arguments: {\n  \"type\": \"object\"\n}\n\nresult: anything"
        );
    }
}
