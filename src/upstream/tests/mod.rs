mod early;
mod frames;
mod reach;
mod sharing;
mod timing;
mod whole;
mod world;
