// The plan of `route/sort`: the number of tiles, from word 4 on the grids of indirect dispatches, three words each, then
// from PLAN_HEAD on three words a tile (its expert, its first index among the sorted picks, their number), then the picks
// sorted by expert.
const PLAN_GRIDS = 16u;
const PLAN_HEAD = 4u + 3u * PLAN_GRIDS;
