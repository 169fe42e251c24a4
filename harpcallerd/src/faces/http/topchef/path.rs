//! Paths of TopChef faces: of one at its own path, or at the root of a listener of its own.

use axum::http::Uri;

use crate::faces::http::settings::{Generation, Serve};

/// A path of a TopChef face, cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::faces::http) struct TopchefPath {
    /// The generation that is spoken there.
    pub(in crate::faces::http) generation: Generation,
    /// What stands before the face's own paths, in absolute addresses too.
    pub(super) base: String,
    /// The name of the worker that is in the path.
    pub(super) worker: Option<String>,
    /// The parts of the path behind the base.
    pub(super) parts: Vec<String>,
    /// The path ends in a slash behind something.
    pub(super) has_slash: bool,
}

impl TopchefPath {
    /// A path cut, if it is one of a face that is served.
    pub(in crate::faces::http) fn of(serve: &Serve, path: &str) -> Option<TopchefPath> {
        let (generation, mut base, rest) = match serve.root {
            Some(generation) => (generation, String::new(), path),
            None if serve.topchef => {
                let rest = path.strip_prefix("/topchef/")?;
                let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let generation = Generation::named(name)?;
                (generation, format!("/topchef/{name}"), rest)
            }
            None => return None,
        };
        let has_slash = rest.len() > 1 && rest.ends_with('/');
        let mut parts = rest.split('/').filter(|part| !part.is_empty()).peekable();
        let mut worker = None;
        if parts.peek() == Some(&"as") {
            parts.next();
            let name = parts.next()?;
            base.push_str("/as/");
            base.push_str(name);
            worker = Some(super::super::query::percent_decoded(name)?);
        }
        let parts: Vec<String> = parts.map(str::to_owned).collect();
        Some(TopchefPath {
            generation,
            base,
            worker,
            // With and without a slash at the base alone.
            has_slash: has_slash && !parts.is_empty(),
            parts,
        })
    }

    /// Where the API has the events of the job of a path, if they are asked for.
    pub(in crate::faces::http) fn events(&self, uri: &Uri) -> Option<Uri> {
        let [jobs, job, events] = self.parts.as_slice() else {
            return None;
        };
        let is_it = jobs == "jobs" && events == "events" && !self.has_slash;
        let query = uri.query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        let target = format!("/api/v1/jobs/{job}/events{query}");
        is_it.then(|| target.parse().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(root: Option<Generation>, path: &str) -> Option<(Generation, String, Vec<String>)> {
        let serve = Serve {
            topchef: root.is_none(),
            root,
            ..Serve::default()
        };
        let path = TopchefPath::of(&serve, path)?;
        Some((path.generation, path.base, path.parts))
    }

    #[test]
    fn a_face_is_at_its_path_or_at_the_root() {
        let (v1, v2) = (Generation::First, Generation::Second);
        let parts = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
        assert_eq!(
            cut(None, "/topchef/v1/services"),
            Some((v1, "/topchef/v1".to_owned(), parts(&["services"])))
        );
        for root in ["/topchef/v2", "/topchef/v2/"] {
            assert_eq!(
                cut(None, root),
                Some((v2, "/topchef/v2".to_owned(), parts(&[])))
            );
        }
        assert_eq!(
            cut(None, "/topchef/v1/as/w/jobs/j"),
            Some((v1, "/topchef/v1/as/w".to_owned(), parts(&["jobs", "j"])))
        );
        assert_eq!(cut(Some(v2), "/"), Some((v2, String::new(), parts(&[]))));
        for elsewhere in ["/topchef/v3", "/topchef", "/api/v1", "/"] {
            assert_eq!(cut(None, elsewhere), None, "{elsewhere}");
        }
        let serve = Serve {
            root: Some(v2),
            ..Serve::default()
        };
        assert!(TopchefPath::of(&serve, "/services/").unwrap().has_slash);
    }
}
