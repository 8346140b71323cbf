//! Refusing a message by the name of the field that is wrong, and never passing over a field that nobody read.

use std::fmt::Debug;
use std::time::Duration;

use envoy_types::pb::google::protobuf;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use super::{InvalidResource, ResourceType};

/// A field and what is wrong with it; the path grows outwards as the error passes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    field: String,
    reason: String,
}

impl Invalid {
    pub(super) fn new(field: impl Into<String>, reason: impl ToString) -> Self {
        Self { field: field.into(), reason: reason.to_string() }
    }

    /// A choice that this mesh does not have, named by its kind; what it holds may be long.
    pub(super) fn unsupported(choice: &impl Debug) -> Self {
        let choice = format!("{choice:?}");
        let kind = choice.split(['(', ' ']).next().unwrap_or_default();
        Self::new("", format!("{kind} is not supported by this mesh"))
    }

    /// The same error, seen from the message that holds `outer`.
    pub(super) fn inside(mut self, outer: impl AsRef<str>) -> Self {
        let outer = outer.as_ref();
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }

    pub(super) fn of(self, resource_type: ResourceType, name: &str) -> InvalidResource {
        InvalidResource { resource_type, name: name.to_owned(), field: self.field, reason: self.reason }
    }
}

/// Names the place of an error that comes from further in.
pub(super) trait Inside<T> {
    fn inside(self, outer: &str) -> Result<T, Invalid>;
}

impl<T> Inside<T> for Result<T, Invalid> {
    fn inside(self, outer: &str) -> Result<T, Invalid> {
        self.map_err(|invalid| invalid.inside(outer))
    }
}

/// Converts every element of a list, naming the one that is wrong.
pub(super) fn each<W, T>(
    field: &str,
    list: Vec<W>,
    mut convert: impl FnMut(W) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let convert =
        |(at, item)| convert(item).map_err(|invalid: Invalid| invalid.inside(format!("{field}[{at}]")));
    list.into_iter().enumerate().map(convert).collect()
}

/// Ends the reading of a message: whoever reads a field takes it out, so that what is left is what nobody honours. It is
/// named by its line in the message's own description, which for an empty message has one line per field.
pub(super) fn nothing_else<M: PartialEq + Default + Debug>(rest: &M) -> Result<(), Invalid> {
    let empty = M::default();
    if *rest == empty {
        return Ok(());
    }
    let (rest, empty) = (format!("{rest:#?}"), format!("{empty:#?}"));
    let line =
        rest.lines().zip(empty.lines()).find(|(rest, empty)| rest != empty).map_or("", |(rest, _)| rest);
    let field = line.split(':').next().unwrap_or(line).trim();
    Err(Invalid::new(field, "is not supported by this mesh"))
}

/// A message inside an `Any`, of the type that is expected.
pub(super) fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, Invalid> {
    if any.type_url != M::type_url() {
        return Err(Invalid::new(
            "type_url",
            format!("`{}` where `{}` is expected", any.type_url, M::type_url()),
        ));
    }
    M::decode(any.value.as_slice()).map_err(|error| Invalid::new("value", error))
}

/// Whether an `Any` says that it holds an `M`.
pub(super) fn holds<M: Name>(any: &Any) -> bool {
    any.type_url == M::type_url()
}

/// A duration that is neither negative nor malformed.
pub(super) fn duration(field: &str, wire: protobuf::Duration) -> Result<Duration, Invalid> {
    let parts = u64::try_from(wire.seconds).ok().zip(u32::try_from(wire.nanos).ok());
    match parts {
        Some((seconds, nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(Invalid::new(field, "is no duration")),
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::route::v3::RouteMatch;
    use envoy_types::pb::envoy::config::route::v3::route_match::{GrpcRouteMatchOptions, PathSpecifier};

    use super::*;

    #[test]
    fn what_nobody_read_is_named() {
        assert_eq!(nothing_else(&RouteMatch::default()), Ok(()));
        let grpc = RouteMatch { grpc: Some(GrpcRouteMatchOptions {}), ..RouteMatch::default() };
        assert_eq!(nothing_else(&grpc), Err(Invalid::new("grpc", "is not supported by this mesh")));
        let path = RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("a: b\nc".into())),
            ..RouteMatch::default()
        };
        assert_eq!(nothing_else(&path), Err(Invalid::new("path_specifier", "is not supported by this mesh")));
    }

    #[test]
    fn the_path_of_a_field_grows_outwards() {
        let inner: Result<Vec<()>, Invalid> = each("routes", vec![0, 1], |at| match at {
            1 => Err(Invalid::new("match", "is missing")),
            _ => Ok(()),
        });
        let error =
            inner.inside("virtual_hosts[0]").unwrap_err().of(ResourceType::RouteConfiguration, "a:80");
        assert_eq!(
            error.to_string(),
            "route configuration `a:80`: virtual_hosts[0].routes[1].match: is missing"
        );
    }

    #[test]
    fn durations_are_checked() {
        let check = |seconds, nanos| duration("timeout", protobuf::Duration { seconds, nanos });
        assert_eq!(check(1, 500_000_000), Ok(Duration::from_millis(1500)));
        assert!(check(-1, 0).is_err());
        assert!(check(0, -1).is_err());
        assert!(check(0, 1_000_000_000).is_err());
    }
}
