//! Routes by name: there are few of them, whatever is asked for.

/// The route of a path, as the API describes it: there are few of them, whatever is asked
/// for.
pub(super) fn of(path: &str) -> &'static str {
    let path = match path {
        "/healthz" => return "/healthz",
        "/readyz" => return "/readyz",
        "/metrics" => return "/metrics",
        path if path.starts_with("/topchef/") => return "/topchef",
        path => path.strip_prefix("/api/v1").unwrap_or("-"),
    };
    const ROUTES: [&str; 14] = [
        "/services",
        "/",
        "/openapi.json",
        "/session",
        "/jobs",
        "/jobs/check",
        "/queues",
        "/queues/jobs",
        "/queues/cancel",
        "/hosts",
        "/hosts/refresh",
        "/events",
        "/summary",
        "/procedures",
    ];
    let path = if path.is_empty() { "/" } else { path };
    if let Some(route) = ROUTES.iter().find(|route| **route == path) {
        return route;
    }
    let mut steps = path.split('/').skip(1);
    match (steps.next(), steps.next(), steps.next(), steps.next()) {
        (Some("jobs"), Some(_), None, None) => "/jobs/{job}",
        (Some("jobs"), Some(_), Some("result"), None) => "/jobs/{job}/result",
        (Some("jobs"), Some(_), Some("cancel"), None) => "/jobs/{job}/cancel",
        (Some("jobs"), Some(_), Some("packets"), None) => "/jobs/{job}/packets",
        (Some("jobs"), Some(_), Some("output"), None) => "/jobs/{job}/output",
        (Some("jobs"), Some(_), Some("search"), None) => "/jobs/{job}/search",
        (Some("jobs"), Some(_), Some("events"), None) => "/jobs/{job}/events",
        (Some("hosts"), Some(_), None, None) => "/hosts/{name}",
        (Some("services"), Some(_), None, None) => "/services/{name}",
        (Some("services"), Some(_), Some("claims"), None) => "/services/{name}/claims",
        (Some("claims"), Some(_), Some("renew"), None) => "/claims/{name}/renew",
        (Some("claims"), Some(_), Some("packets"), None) => "/claims/{name}/packets",
        (Some("claims"), Some(_), Some("finish"), None) => "/claims/{name}/finish",
        (Some("hosts"), Some(_), Some("procedures"), None) => "/hosts/{name}/procedures",
        _ => "other",
    }
}

/// The route of a path with what stands before it, for traces.
pub(super) fn template(path: &str) -> String {
    match of(path) {
        route if path.starts_with("/api/v1") && route.starts_with('/') => {
            format!("/api/v1{}", route.trim_end_matches('/'))
        }
        route => route.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_few_routes() {
        assert_eq!(of("/api/v1"), "/");
        assert_eq!(of("/api/v1/jobs/x/output"), "/jobs/{job}/output");
        assert_eq!(of("/api/v1/hosts/x"), "/hosts/{name}");
        for other in [
            "/",
            "/x",
            "/api/v1/jobs/x/y",
            "/api/v1/jobs/x/output/y",
            "/api/v2",
        ] {
            assert_eq!(of(other), "other", "{other}");
        }
    }
}
