//! Decides when an answer has ended: with its last byte, with its failure, or with the client's departure.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::rewrite::PartialFailures;

use super::Record;

/// A body that reports its end.
pub(super) struct Followed {
    pub(super) inner: Body,
    pub(super) record: Option<Box<Record>>,
    pub(super) partial: Option<PartialFailures>,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    record.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
                    if let (Some(partial), Some(chunk)) = (&mut this.partial, frame.data_ref()) {
                        record.failed_in_part(&partial.read(chunk));
                    }
                }
                Some(Err(error)) => record.error = Some(error.to_string()),
                None => this.record = None,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
