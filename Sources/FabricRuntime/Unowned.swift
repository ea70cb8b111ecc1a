/// Carries an object into closures that other threads hand over and that run on the object's own event loop, which it
/// outlives.
struct Unowned<Value: AnyObject>: @unchecked Sendable {
    unowned let value: Value
    init(_ value: Value) { self.value = value }
}
