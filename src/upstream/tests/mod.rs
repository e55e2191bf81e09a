//! Holds the way out over real sockets: what a request meets there, and what is made of it.

mod early;
mod frames;
mod reach;
mod sharing;
mod timing;
mod whole;
mod world;
