// On the server the package stays a package: a native module cannot be bundled.
export default { serverExternalPackages: ["statespace"] }
