/// The version of this build.
public enum RAPVersion {
    public static let text = "0.1.0"
}
