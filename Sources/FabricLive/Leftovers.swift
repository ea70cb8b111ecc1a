internal import FabricLinux

/// What runs left that were killed before they could remove it: namespaces with the programs inside, and folders.
public enum Leftovers {
    /// Removes what makers left who are no longer there; returns what it was.
    public static func remove() throws -> [String] {
        try NetworkNamespace.removeLeftovers().map { "namespace \($0)" } + WorkFolder.removeLeftovers()
    }
}
