// The plan of `route/sort`: the number of tiles, then from PLAN_HEAD on three words a tile (its expert, its first index
// among the sorted picks, their number), then the picks sorted by expert.
const PLAN_HEAD = 4u;
