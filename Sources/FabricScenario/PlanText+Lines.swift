extension PlanText {
    /// How a line is, for example `delay: 20ms, loss: 1%`.
    public func properties(_ link: LinkProperties) -> String { properties(link, over: .defaultBetween) }
}
