/** Version of this package, written here because a page has no manifest to read; a house test compares the two. */
export const version = "0.1.0"
