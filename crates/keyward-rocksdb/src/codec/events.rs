//! The values of the audit trail, and of requests that make something once.
//!
//! An event of version 1 is
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version |
//! | 1 | which of the next follow: 1 the signature, 2 the link |
//! | 32 | the signature |
//! | 8, 32 | number and hash of the link |
//! | … | the event, as it is signed ([`Event::encode`]) |

use keyward_core::audit::{Event, Link, Recorded, Tag};
use keyward_core::store::Once;

use super::Malformed;
use crate::layout::{PLACE_LEN, Place};

const VERSION: u8 = 1;
const SIGNED: u8 = 1;
const LINKED: u8 = 2;

/// An event as a value, with its link if it has one.
pub fn encode_event(event: &Event, link: Option<&Link>) -> Vec<u8> {
    let flags = (u8::from(event.tag.is_some()) * SIGNED) | (u8::from(link.is_some()) * LINKED);
    let mut value = vec![VERSION, flags];
    if let Some(Tag(tag)) = &event.tag {
        value.extend(tag);
    }
    if let Some(link) = link {
        value.extend(encode_link(link));
    }
    value.extend(event.encode());
    value
}

/// The event that a value is.
pub fn decode_event(value: &[u8]) -> Result<Recorded, Malformed> {
    let mut rest = value;
    match take(&mut rest)? {
        [VERSION] => {}
        [other] => return Err(Malformed::Version(other)),
    }
    let [flags] = take(&mut rest)?;
    if flags & !(SIGNED | LINKED) != 0 {
        return Err(Malformed::Field("flags"));
    }
    let tag = if flags & SIGNED == 0 { None } else { Some(Tag(take(&mut rest)?)) };
    let link = if flags & LINKED == 0 { None } else { Some(take_link(&mut rest)?) };
    let event = Event::decode(rest).map_err(|_| Malformed::Field("event"))?;
    Ok(Recorded { event: Event { tag, ..event }, link })
}

/// A link as a value.
pub fn encode_link(link: &Link) -> Vec<u8> {
    [&link.number.to_be_bytes()[..], &link.hash].concat()
}

/// The link that a value is.
pub fn decode_link(value: &[u8]) -> Result<Link, Malformed> {
    let mut rest = value;
    let link = take_link(&mut rest)?;
    if rest.is_empty() { Ok(link) } else { Err(Malformed::Field("link")) }
}

fn take_link(rest: &mut &[u8]) -> Result<Link, Malformed> {
    Ok(Link { number: u64::from_be_bytes(take(rest)?), hash: take(rest)? })
}

/// What a request made once, as a value.
pub fn encode_once(once: &Once, place: &Place) -> Vec<u8> {
    [&[VERSION][..], &once.content, place.as_bytes()].concat()
}

/// The content of the request that a value tells of, and the place of what it made.
pub fn decode_once(value: &[u8]) -> Result<([u8; 32], Place), Malformed> {
    let mut rest = value;
    match take(&mut rest)? {
        [VERSION] => {}
        [other] => return Err(Malformed::Version(other)),
    }
    let (content, place) = (take(&mut rest)?, take::<PLACE_LEN>(&mut rest)?);
    if rest.is_empty() {
        Ok((content, Place::from_bytes(place)))
    } else {
        Err(Malformed::Field("end"))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(Malformed::Field("end"))?;
    *rest = behind;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use keyward_core::audit::{Action, Origin};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{key, places};

    fn event(tag: Option<[u8; 32]>) -> Event {
        let key = key(1, 1);
        Event {
            id: Uuid::from_u128(5).into(),
            workspace: key.workspace_id,
            at: key.created_at,
            key: key.id,
            action: Action::Changed,
            detail: Some("scopes".into()),
            account: None,
            credential: Some(key.id),
            origin: Origin::default(),
            tag: tag.map(Tag),
        }
    }

    proptest! {
        #[test]
        fn an_event_reads_back_as_it_is_written(tag: Option<[u8; 32]>, link: Option<(u64, [u8; 32])>) {
            let link = link.map(|(number, hash)| Link { number, hash });
            let recorded = Recorded { event: event(tag), link };
            prop_assert_eq!(decode_event(&encode_event(&recorded.event, recorded.link.as_ref())), Ok(recorded));
        }

        #[test]
        fn what_is_cut_or_goes_on_is_no_event(cut in 1..150_usize, more: Vec<u8>, any: Vec<u8>) {
            let whole = encode_event(&event(Some([7; 32])), None);
            prop_assert!(decode_event(&whole[..whole.len() - cut]).is_err());
            prop_assert_eq!(decode_event(&[&*whole, &*more].concat()).is_ok(), more.is_empty());
            prop_assert!(decode_event(&any).is_err());
        }

        #[test]
        fn a_request_reads_back_as_it_is_written(content: [u8; 32], place in places(), any: Vec<u8>) {
            let key = key(1, 1);
            let once = Once { name: [1; 32], content, since: key.created_at };
            let value = encode_once(&once, &place);
            prop_assert_eq!(decode_once(&value), Ok((content, place)));
            prop_assert!(decode_once(&value[1..]).is_err());
            prop_assert!(decode_once(&[&*value, &[0]].concat()).is_err());
            prop_assert!(decode_link(&any).is_ok() == (any.len() == 40));
        }
    }
}
