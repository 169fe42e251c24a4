//! Which command a procedure's name means.

/// The version from which on acquisition is started and stopped by other numbers.
const NEW_ACQUISITION: [u64; 3] = [0, 9, 24];

/// The number under which devices take commands of their users.
const USER_DEFINED: i64 = 99999;

/// Commands by their names, those of acquisition aside.
const NAMES: [(&str, i64); 17] = [
    ("set_application_mode", 120),
    ("set_training_mode", 130),
    ("emergency_stop", 200),
    ("emergency_resume", 210),
    ("get_configuration", 300),
    ("get_status", 400),
    ("get_animals", 500),
    ("set_live_analysis_enabled", 1000),
    ("set_pellet_delivery_enabled", 1010),
    ("set_pellet_cover_enabled", 1020),
    ("set_intertrial_pellet_shift_enabled", 1030),
    ("set_home_on_excessive_drift_enabled", 1040),
    ("set_triangle_pellet_distance_detection_enabled", 1050),
    ("set_auto_close_gate_on_intertrial_enabled", 1060),
    ("set_auto_clamp_enabled", 1070),
    ("set_tunnel_sweep_enabled", 1080),
    ("set_batch_trials_enabled", 1090),
];

/// What a procedure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Procedure {
    /// A command of the device.
    Command(Number),
    /// The device's events, as they come.
    Events,
}

/// The number of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// One number for all versions.
    Fixed {
        /// The number.
        command: i64,
        /// The number among the commands of the device's users.
        custom: Option<i64>,
    },
    /// One number up to a version, another from that on.
    ByVersion {
        /// Before [`NEW_ACQUISITION`].
        old: i64,
        /// From then on.
        new: i64,
    },
}

impl Procedure {
    /// The procedure of a name; `None` if there is none. Number 0 is none: the device's
    /// library answers it by itself, and nobody's call.
    pub(crate) fn of(name: &str) -> Option<Procedure> {
        let fixed = |command, custom| Procedure::Command(Number::Fixed { command, custom });
        if let Some((_, command)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(fixed(*command, None));
        }
        let by_version = |old, new| Procedure::Command(Number::ByVersion { old, new });
        match name {
            "events" => return Some(Procedure::Events),
            "start_acquisition" => return Some(by_version(100, 50)),
            "stop_acquisition" => return Some(by_version(110, 55)),
            _ => {}
        }
        if let Some(number) = name.strip_prefix("command:") {
            let command = whole(number).filter(|command| *command != 0)?;
            return Some(fixed(command, None));
        }
        let custom = whole(name.strip_prefix("custom:")?)?;
        Some(fixed(USER_DEFINED, Some(custom)))
    }
}

impl Number {
    /// The number for a device of this version, and that of its users; `None` if that has to
    /// be known and is not.
    pub(crate) fn at(self, version: Option<&str>) -> Option<(i64, Option<i64>)> {
        match self {
            Number::Fixed { command, custom } => Some((command, custom)),
            Number::ByVersion { old, new } => {
                let version = version?.splitn(3, '.').map(leading_number);
                let is_new = version.ge(NEW_ACQUISITION);
                Some((if is_new { new } else { old }, None))
            }
        }
    }
}

/// Whether a result of this command may be that of one which was sent as another: a number
/// that the device does not know is one of its users'.
pub(crate) fn is_same(sent: i64, told: i64) -> bool {
    sent == told || told == USER_DEFINED
}

/// A number as people write it: an optional minus and digits.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// The number that a part of a version begins with.
fn leading_number(part: &str) -> u64 {
    let end = part.bytes().position(|byte| !byte.is_ascii_digit());
    part[..end.unwrap_or(part.len())].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_commands() {
        let number = |name, version| match Procedure::of(name)? {
            Procedure::Command(number) => number.at(version),
            Procedure::Events => None,
        };
        assert_eq!(number("get_status", None), Some((400, None)));
        assert_eq!(number("command:-7", None), Some((-7, None)));
        assert_eq!(number("custom:12", None), Some((99999, Some(12))));
        for (version, start, stop) in [
            ("0.9.7", 100, 110),
            ("0.9.18", 100, 110),
            ("0.9.24", 50, 55),
            ("0.12.0", 50, 55),
            ("1.0.0rc1", 50, 55),
            ("0.9.24.dev3", 50, 55),
        ] {
            assert_eq!(
                number("start_acquisition", Some(version)),
                Some((start, None)),
                "{version}"
            );
            assert_eq!(
                number("stop_acquisition", Some(version)),
                Some((stop, None)),
                "{version}"
            );
        }
        assert_eq!(
            number("start_acquisition", None),
            None,
            "its version is not known"
        );
        assert_eq!(Procedure::of("events"), Some(Procedure::Events));
        for name in [
            "",
            "GET_STATUS",
            "command:",
            "command:0",
            "command:1.5",
            "custom:+1",
            "custom:x",
        ] {
            assert_eq!(Procedure::of(name), None, "{name}");
        }
    }
}
