//! Encodes messages so that equal configuration has equal bytes.
//!
//! prost writes a protobuf map in the order of a randomly seeded `HashMap`, so the bytes of one resource would differ from
//! call to call and from replica to replica, and with them its version, and every restart would send everything again.
//! Here the entries of every map that we fill are put in order after encoding. A [`Shape`] says where they lie.

use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

/// Which fields of a message hold maps, or messages that hold maps.
#[derive(Debug)]
pub(super) struct Shape(&'static [(u64, Field)]);

#[derive(Debug)]
enum Field {
    /// A map, with the shape of its entries.
    Map(&'static Shape),
    /// A message.
    Inner(&'static Shape),
}

/// A message without maps.
pub(super) static PLAIN: Shape = Shape(&[]);
static STRUCT: Shape = Shape(&[(1, Field::Map(&STRUCT_ENTRY))]);
static STRUCT_ENTRY: Shape = Shape(&[(2, Field::Inner(&VALUE))]);
static VALUE: Shape = Shape(&[(5, Field::Inner(&STRUCT)), (6, Field::Inner(&LIST))]);
static LIST: Shape = Shape(&[(1, Field::Inner(&VALUE))]);
static METADATA: Shape = Shape(&[(1, Field::Map(&METADATA_ENTRY))]);
static METADATA_ENTRY: Shape = Shape(&[(2, Field::Inner(&STRUCT))]);
/// `envoy.config.listener.v3.Listener`
pub(super) static LISTENER: Shape = Shape(&[(3, Field::Inner(&FILTER_CHAIN)), (6, Field::Inner(&METADATA))]);
static FILTER_CHAIN: Shape = Shape(&[(5, Field::Inner(&METADATA))]);
/// `envoy.config.cluster.v3.Cluster`
pub(super) static CLUSTER: Shape = Shape(&[(25, Field::Inner(&METADATA))]);
/// `envoy.config.endpoint.v3.ClusterLoadAssignment`
pub(super) static ENDPOINTS: Shape = Shape(&[(2, Field::Inner(&LOCALITY))]);
static LOCALITY: Shape = Shape(&[(2, Field::Inner(&ENDPOINT))]);
static ENDPOINT: Shape = Shape(&[(3, Field::Inner(&METADATA))]);
/// `envoy.config.route.v3.RouteConfiguration`
pub(super) static ROUTES: Shape = Shape(&[(2, Field::Inner(&VIRTUAL_HOST)), (17, Field::Inner(&METADATA))]);
static VIRTUAL_HOST: Shape = Shape(&[(3, Field::Inner(&ROUTE))]);
static ROUTE: Shape = Shape(&[(4, Field::Inner(&METADATA)), (13, Field::Map(&PLAIN))]);
/// `envoy.extensions.filters.http.rbac.v3.RBAC`
pub(super) static RBAC: Shape = Shape(&[(1, Field::Inner(&RBAC_RULES))]);
static RBAC_RULES: Shape = Shape(&[(2, Field::Map(&PLAIN))]);

/// Packs a message with its maps in order.
pub(super) fn pack<M: Message + Name>(message: &M, shape: &'static Shape) -> Any {
    let bytes = message.encode_to_vec();
    // Bytes that we encoded ourselves are well-formed; were they not, they would still be right, only in prost's order.
    Any { type_url: M::type_url(), value: ordered(&bytes, shape).unwrap_or(bytes) }
}

/// The same message with the entries of its maps in order; `None` if the bytes are no message.
fn ordered(bytes: &[u8], shape: &Shape) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut run: Vec<Vec<u8>> = Vec::new();
    let mut run_tag = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = rest;
        let tag = varint(&mut rest)?;
        let field = shape.0.iter().find(|(number, _)| tag == number << 3 | 2).map(|(_, field)| field);
        if run_tag.is_some_and(|open| open != tag) {
            flush(&mut run, &mut out);
            run_tag = None;
        }
        match field {
            Some(Field::Map(entry)) => {
                run_tag = Some(tag);
                run.push(framed(tag, &ordered(delimited(&mut rest)?, entry)?));
            }
            Some(Field::Inner(inner)) => out.extend(framed(tag, &ordered(delimited(&mut rest)?, inner)?)),
            None => {
                skip(tag, &mut rest)?;
                out.extend(&start[..start.len() - rest.len()]);
            }
        }
    }
    flush(&mut run, &mut out);
    Some(out)
}

fn flush(run: &mut Vec<Vec<u8>>, out: &mut Vec<u8>) {
    run.sort();
    run.drain(..).for_each(|entry| out.extend(entry));
}

fn framed(tag: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    prost::encoding::encode_varint(tag, &mut out);
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}

fn delimited<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn skip(tag: u64, rest: &mut &[u8]) -> Option<()> {
    match tag & 7 {
        0 => varint(rest).map(|_| ()),
        1 => rest.split_at_checked(8).map(|(_, after)| *rest = after),
        2 => delimited(rest).map(|_| ()),
        5 => rest.split_at_checked(4).map(|(_, after)| *rest = after),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::cluster::v3::Cluster;

    use super::*;
    use crate::translate::metadata::{self, Entry};

    #[test]
    fn equal_messages_have_equal_bytes() {
        let build = || Cluster {
            name: "outbound|80||a".to_owned(),
            metadata: Some(metadata::ours(
                (0..20).map(|index| (format!("key{index}"), Entry::text("value"))),
            )),
            ..Cluster::default()
        };
        let first = pack(&build(), &CLUSTER);
        for _ in 0..10 {
            assert_eq!(pack(&build(), &CLUSTER).value, first.value);
        }
        assert_eq!(Cluster::decode(&*first.value), Ok(build()), "order is all that changes");
    }

    #[test]
    fn what_is_no_message_is_left_alone() {
        assert_eq!(ordered(&[0x0a, 0xff], &CLUSTER), None);
        assert_eq!(ordered(&[0x0b], &CLUSTER), None);
    }
}
