/** What is used of `@huggingface/hub`. A release carries these three functions instead of the whole package, which is 10 MB on disk. */
export { getHFHubCachePath, listFiles, modelInfo } from "@huggingface/hub"
