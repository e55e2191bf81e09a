mod early;
mod frames;
mod reach;
mod timing;
mod whole;
mod world;
